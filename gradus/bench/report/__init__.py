"""A folder of evidence as one page, HTML or Markdown."""
