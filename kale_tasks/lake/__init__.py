"""The lake: Iceberg tables, part files, atomic commits. Import what you need from its modules."""
