"""What a build needs and pip does not bring, fetched once into the user's cache, with hashes."""
