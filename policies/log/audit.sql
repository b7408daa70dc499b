-- The audit log is a view of the log that reads with the rights of whoever asks.
GRANT USAGE ON SCHEMA read TO lethe_api, lethe_auditor, lethe_compliance;
GRANT SELECT ON read.audit_log TO lethe_api, lethe_auditor, lethe_compliance;
