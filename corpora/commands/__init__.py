"""`temper inspect`, `preview`, `new`: what a file is, what becomes of a recipe's sources, a recipe for files."""
