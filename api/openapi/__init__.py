"""The served OpenAPI document, and the page that shows it."""
