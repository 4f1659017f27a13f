"""Profile a bundle on a board over ssh: copied there, run, its numbers taken back, cleaned up."""
