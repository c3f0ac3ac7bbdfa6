-- An outbox of 1.0.0 with a row in each state, as pg_dump wrote it at 2026-12-01 12:30 UTC, without its comments.
-- go-client.test.ts has each later version take it over. It never changes.

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

SET default_tablespace = '';

SET default_table_access_method = heap;

CREATE TABLE public.ledger_metrics_outbox (
    id text NOT NULL,
    body text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    next_attempt_at timestamp with time zone DEFAULT now() NOT NULL,
    last_error text,
    parked_at timestamp with time zone,
    claimed_until timestamp with time zone,
    sent_at timestamp with time zone,
    first_sent_at timestamp with time zone,
    seq bigint NOT NULL,
    CONSTRAINT ledger_metrics_outbox_body_check CHECK ((octet_length(body) <= 262144)),
    CONSTRAINT ledger_metrics_outbox_id_check CHECK ((((length(id) >= 1) AND (length(id) <= 256)) AND (id !~ '[^\x21-\x2d\x2f-\x7e]'::text)))
)
WITH (fillfactor='50');

COMMENT ON TABLE public.ledger_metrics_outbox IS 'Reconciler events for veza-ledger-metrics. Waiting: sent_at and parked_at are null. Sent rows stay for 14 days, or for a year under an id of one''s own.';

COMMENT ON COLUMN public.ledger_metrics_outbox.parked_at IS 'Not null: waits for a person; last_error says why.';

COMMENT ON COLUMN public.ledger_metrics_outbox.claimed_until IS 'Not null: being sent. Due again from this time on.';

COMMENT ON COLUMN public.ledger_metrics_outbox.sent_at IS 'Not null: the receiver said then that it is counted.';

COMMENT ON COLUMN public.ledger_metrics_outbox.first_sent_at IS 'The first claim. Parked 13 days later, not sent.';

COMMENT ON COLUMN public.ledger_metrics_outbox.seq IS 'The order of the inserts, and of rows due together.';

ALTER TABLE public.ledger_metrics_outbox ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.ledger_metrics_outbox_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

INSERT INTO public.ledger_metrics_outbox (id, body, created_at, attempts, next_attempt_at, last_error, parked_at, claimed_until, sent_at, first_sent_at, seq) OVERRIDING SYSTEM VALUE VALUES ('evt-249005b41c978808888762e86185017c', '[{"type":"reconciler.action","timestamp":"2026-12-01T20:14:04.065Z","data":{"phase":"stuck_orders"}},{"type":"reconciler.action","timestamp":"2026-12-01T20:14:04.065Z","data":{"phase":"stuck_orders"}},{"type":"reconciler.sweep","timestamp":"2026-12-01T20:14:04.059Z","data":{"duration_seconds":1.840011747}}]', '2026-12-01 12:00:00+00', 0, '2026-12-01 12:00:00+00', NULL, NULL, NULL, NULL, NULL, 1);
INSERT INTO public.ledger_metrics_outbox (id, body, created_at, attempts, next_attempt_at, last_error, parked_at, claimed_until, sent_at, first_sent_at, seq) OVERRIDING SYSTEM VALUE VALUES ('evt-00b56907b084a059ef11d012d17ee633', '[{"type":"reconciler.action","timestamp":"2026-12-01T20:14:04.069Z","data":{"phase":"stuck_refunds"}}]', '2026-12-01 12:00:00+00', 3, '2026-12-01 12:30:03.5+00', 'ledgermetrics: delivery evt-00b56907b084a059ef11d012d17ee633 rejected with 503: not confirmed; send again with the same webhook-id', NULL, NULL, NULL, '2026-12-01 12:20:00.25+00', 2);
INSERT INTO public.ledger_metrics_outbox (id, body, created_at, attempts, next_attempt_at, last_error, parked_at, claimed_until, sent_at, first_sent_at, seq) OVERRIDING SYSTEM VALUE VALUES ('evt-ddb3239fb46d9b97e227d9bdd15acf4b', '[{"type":"reconciler.action","timestamp":"2026-12-01T20:14:04.07Z","data":{"phase":"orphan_refunds"}},{"type":"reconciler.orphan_refund","timestamp":"2026-12-01T20:14:04.07Z"},{"type":"reconciler.sweep","timestamp":"2026-12-01T20:14:04.059Z","data":{"duration_seconds":1.000019108,"phase":"orphan_refunds"}}]', '2026-12-01 12:00:00+00', 0, '2026-12-01 12:00:00+00', NULL, NULL, '2026-12-01 12:30:30.25+00', NULL, '2026-12-01 12:29:30.25+00', 3);
INSERT INTO public.ledger_metrics_outbox (id, body, created_at, attempts, next_attempt_at, last_error, parked_at, claimed_until, sent_at, first_sent_at, seq) OVERRIDING SYSTEM VALUE VALUES ('evt-7baf3dead9119c4eee9f7c5a85614854', '[{"type":"reconciler.action","timestamp":"2026-12-01T20:14:04.071Z","data":{"phase":"stuck_orders"}},{"type":"reconciler.action","timestamp":"2026-12-01T20:14:04.071Z","data":{"phase":"stuck_orders"}},{"type":"reconciler.action","timestamp":"2026-12-01T20:14:04.071Z","data":{"phase":"stuck_orders"}}]', '2026-12-01 12:00:00+00', 1, '2026-12-01 12:00:00+00', NULL, NULL, NULL, '2026-12-01 12:00:01.02+00', '2026-12-01 12:00:01+00', 4);
INSERT INTO public.ledger_metrics_outbox (id, body, created_at, attempts, next_attempt_at, last_error, parked_at, claimed_until, sent_at, first_sent_at, seq) OVERRIDING SYSTEM VALUE VALUES ('refund-batch-18', '[{"type":"reconciler.action","timestamp":"2026-12-01T20:14:04.072Z","data":{"phase":"stuck_refunds"}}]', '2026-12-01 12:00:00+00', 1, '2026-12-01 12:00:00+00', NULL, NULL, NULL, '2026-12-01 12:00:01.02+00', '2026-12-01 12:00:01+00', 6);
INSERT INTO public.ledger_metrics_outbox (id, body, created_at, attempts, next_attempt_at, last_error, parked_at, claimed_until, sent_at, first_sent_at, seq) OVERRIDING SYSTEM VALUE VALUES ('refund-batch-17', '[{"type":"reconciler.action","timestamp":"2026-12-01T20:14:04.071Z","data":{"phase":"stuck_refunds"}}]', '2026-12-01 12:00:00+00', 1, '2026-12-01 12:00:00+00', 'ledgermetrics: delivery refund-batch-17 rejected with 400: [0].data.phase: must be one of stuck_orders; not counted: 1 action stuck_refunds', '2026-12-01 12:10:00.02+00', NULL, NULL, '2026-12-01 12:10:00+00', 5);

SELECT pg_catalog.setval('public.ledger_metrics_outbox_seq_seq', 6, true);

ALTER TABLE ONLY public.ledger_metrics_outbox
    ADD CONSTRAINT ledger_metrics_outbox_pkey PRIMARY KEY (id);

CREATE INDEX ledger_metrics_outbox_chance ON public.ledger_metrics_outbox USING btree (sent_at) WHERE ((sent_at IS NOT NULL) AND (id ~ '^evt-[0-9a-f-]{32,36}$'::text));

CREATE INDEX ledger_metrics_outbox_next ON public.ledger_metrics_outbox USING btree (attempts, next_attempt_at, seq) WHERE ((sent_at IS NULL) AND (parked_at IS NULL));

CREATE INDEX ledger_metrics_outbox_parked ON public.ledger_metrics_outbox USING btree (parked_at) WHERE (parked_at IS NOT NULL);

CREATE INDEX ledger_metrics_outbox_sent ON public.ledger_metrics_outbox USING btree (sent_at) WHERE (sent_at IS NOT NULL);
