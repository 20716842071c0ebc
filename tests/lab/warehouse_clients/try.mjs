import { createClient } from '@clickhouse/client'
const c = createClient({ url: process.argv[2], compression: {response: true, request: true}, session_id: 'abc' })
await c.command({query: 'CREATE TEMPORARY TABLE tt (a UInt64, b String)'})
await c.insert({table: 'tt', values: [{a: 7, b: 'é'}], format: 'JSONEachRow'})
console.log(await (await c.query({ query: 'SELECT toUInt32({x: UInt32}) AS a, b FROM tt', query_params: {x: 7}, format: 'JSONEachRow' })).json())
console.log(await c.ping()); await c.close()
