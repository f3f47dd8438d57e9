"""Spiking neurons whose lives are compiled as a whole, since phases cannot tell them."""
