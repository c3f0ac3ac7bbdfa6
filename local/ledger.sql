-- The ledger as the checks know it: a stand-in for Veza's own tables, which have many more columns.

create table orders (
  id bigint generated always as identity primary key,
  status text not null,
  hyperswitch_payment_id text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table refunds (
  id bigint generated always as identity primary key,
  status text not null,
  hyperswitch_refund_id text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table seller_transfers (
  id bigint generated always as identity primary key,
  status text not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
