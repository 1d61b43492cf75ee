"""The operations: scalar functions declared once, and what is composed of them."""
