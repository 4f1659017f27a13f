"""A board's CPU without the board: qemu-user and the board's userland, rootless."""
