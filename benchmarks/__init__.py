"""Measurements that the documentation quotes; each is a module that prints its table."""
