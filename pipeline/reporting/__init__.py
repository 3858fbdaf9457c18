"""Figures, tables and Markdown for people."""
