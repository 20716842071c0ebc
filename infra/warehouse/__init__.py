"""The embedded warehouse: the ClickHouse engine (chDB) behind ClickHouse's HTTP interface, for this machine alone."""
