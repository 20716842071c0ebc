package main

import (
	"database/sql"
	"fmt"
	"os"

	"github.com/ClickHouse/clickhouse-go/v2"
)

func main() {
	options, err := clickhouse.ParseDSN(os.Args[1])
	if err != nil {
		fmt.Println("dsn", err)
		os.Exit(1)
	}
	var db *sql.DB = clickhouse.OpenDB(options)
	var number uint64
	var text string
	if err := db.QueryRow("SELECT toUInt64(7), 'é'").Scan(&number, &text); err != nil {
		fmt.Println("query", err)
		os.Exit(1)
	}
	fmt.Println(number, text)
}
