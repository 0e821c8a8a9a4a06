"""A page that shows what a task measures, live."""
