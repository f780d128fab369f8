"""How a question is put, how a reply is read, and when a quote counts as verbatim."""
