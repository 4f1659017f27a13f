"""Rockchip's compiler and simulator: what is asked of them, and what is believed."""
