"""What is built on the package: demo, study and tables."""
