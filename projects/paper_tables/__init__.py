"""The tables of both papers as data, with published numbers beside our own."""

from projects.paper_tables.table import Column, PaperTable, Row, load_table, table_names

__all__ = ['Column', 'PaperTable', 'Row', 'load_table', 'table_names']
