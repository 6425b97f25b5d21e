"""`/v1/webhook_endpoints` and `/v1/webhook_deliveries`: where events are sent, and the outcome of each."""
