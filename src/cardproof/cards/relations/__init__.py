"""The relations that an audit looks for in any card, one kind a file; each names the cells it used."""
