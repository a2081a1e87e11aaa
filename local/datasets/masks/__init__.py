"""Masks: what their pixels stand for, and reading them."""
