// The list of printers as one would write it with fastify and pg: the same key check, the same statement.
'use strict'

const cluster = require('node:cluster')
const { createHash } = require('node:crypto')
const { Pool } = require('pg')

const BEGIN = "SELECT * FROM sec.begin_request($1, 'operations.read', 'listPrinters', $2, 'bench')"

if (cluster.isPrimary) {
  for (let i = 0; i < 2; i++) cluster.fork()
} else {
  const pool = new Pool({ max: 4 })
  const app = require('fastify')()

  app.get('/v1/printers', async (request, reply) => {
    const limit = Number(request.query.limit ?? 50)
    const key = (request.headers.authorization ?? '').slice('Bearer '.length)
    const client = await pool.connect()
    try {
      await client.query('BEGIN')
      await client.query({ name: 'begin', text: BEGIN, values: [createHash('sha256').update(key).digest(), request.ip] })
      const { rows } = await client.query({ name: 'list', text: process.env.LIST_SQL })
      await client.query('COMMIT')
      const data = rows.slice(0, limit)
      for (const row of data) for (const name in row) if (name.startsWith('_')) delete row[name]
      return { data, has_more: rows.length > limit, next_cursor: null }
    } catch (e) {
      await client.query('ROLLBACK')
      return reply.code(401).send({ error: 'invalid_api_key' })
    } finally {
      client.release()
    }
  })
  app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' })
}
