"""Populations of networks whose forward passes are computed together."""
