"""FedCRM: churn, lead and opportunity models trained across CRM organisations that may not pool their records."""
