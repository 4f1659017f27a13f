"""Stage emit: lowered graph in, the files of a bundle out."""
