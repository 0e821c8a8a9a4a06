"""A page that uploads files, and shows how far they are."""
