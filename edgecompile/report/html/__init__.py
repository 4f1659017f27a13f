"""A bundle as one page that a browser shows: no network, no script."""
