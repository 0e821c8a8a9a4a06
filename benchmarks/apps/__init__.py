"""The same echo, text in and text out at `/echo`, as each contender would have it written."""
