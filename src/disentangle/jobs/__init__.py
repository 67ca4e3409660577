"""What each driver does: plans of resumable stages, reports, tables and figures."""
