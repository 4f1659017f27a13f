"""Arm's compiler for Ethos-U: driven in an environment of its own, believed by its artifact."""
