"""The tables of both papers as data: counted, measured and evaluated beside what was published."""

from projects.paper_tables.table import Column, PaperTable, Row, load_table, table_names

__all__ = ['Column', 'PaperTable', 'Row', 'load_table', 'table_names']
