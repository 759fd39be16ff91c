"""What a page says of each bench's evidence."""
