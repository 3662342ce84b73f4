"""What the documentation is made of: Markdown files, declarations, links."""
