"""Comparison with torch: one table of models, declared once in symprop and once in torch."""
