"""The document that the server serves about itself, and the page that shows it."""
