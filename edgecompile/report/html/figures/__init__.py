"""The charts of a page: each draws plain data with matplotlib, or says that there is none."""
