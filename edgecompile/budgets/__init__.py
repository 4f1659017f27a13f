"""What a bundle may cost: [budget] of the recipe, the numbers it is held against, the verdicts."""
