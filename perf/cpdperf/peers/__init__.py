"""The same measurements of other libraries."""
