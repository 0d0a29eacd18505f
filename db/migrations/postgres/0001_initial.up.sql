-- The tables of Roster. Times are UTC and written by the program. The folded
-- keys compare byte by byte (collation "C"), as SQLite's do.

CREATE TABLE customers (
    id          uuid PRIMARY KEY,
    number      bigint NOT NULL UNIQUE CHECK (number > 0),
    company_id  bigint UNIQUE CHECK (company_id > 0),
    name        text NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    name_key    text COLLATE "C" NOT NULL
);
CREATE INDEX customers_name ON customers (name_key, id);

CREATE TABLE subroles (
    id            uuid PRIMARY KEY,
    customer_id   uuid NOT NULL REFERENCES customers (id),
    code          text NOT NULL,
    display_name  text NOT NULL,
    label         text NOT NULL,
    description   text NOT NULL,
    code_key      text COLLATE "C" NOT NULL,
    UNIQUE (customer_id, code),
    UNIQUE (customer_id, id)
);

CREATE TABLE users (
    id                       uuid PRIMARY KEY,
    number                   bigint NOT NULL UNIQUE CHECK (number > 0),
    customer_id              uuid NOT NULL REFERENCES customers (id),
    username                 text,
    first_name               text NOT NULL,
    last_name                text NOT NULL,
    email                    text NOT NULL,
    mobile                   text,
    user_type                text,
    status                   text COLLATE "C" NOT NULL CHECK (status IN ('ACTIVE', 'INVITED', 'INACTIVE')),
    is_email_verified        boolean NOT NULL,
    is_first_login           boolean NOT NULL,
    account_non_expired      boolean NOT NULL,
    account_non_locked       boolean NOT NULL,
    credentials_non_expired  boolean NOT NULL,
    created_at               timestamptz NOT NULL,
    created_by               uuid,
    updated_at               timestamptz NOT NULL,
    updated_by               uuid,
    last_password_reset_at   timestamptz,
    ext_auth_ref_id          uuid,
    subrole_id               uuid,
    username_key             text COLLATE "C" NOT NULL,
    first_name_key           text COLLATE "C" NOT NULL,
    last_name_key            text COLLATE "C" NOT NULL,
    email_key                text COLLATE "C" NOT NULL,
    mobile_key               text COLLATE "C" NOT NULL,
    search_key               text COLLATE "C" NOT NULL,
    -- A user's subrole is one of the user's own customer.
    FOREIGN KEY (customer_id, subrole_id) REFERENCES subroles (customer_id, id)
);

-- One index for each order of a customer's users; the id breaks ties.
CREATE INDEX users_created_at ON users (customer_id, created_at, id);
CREATE INDEX users_updated_at ON users (customer_id, updated_at, id);
CREATE INDEX users_number ON users (customer_id, number, id);
CREATE INDEX users_email ON users (customer_id, email_key, id);
CREATE INDEX users_name ON users (customer_id, last_name_key, first_name_key, id);
CREATE INDEX users_username ON users (customer_id, username_key, id);
CREATE INDEX users_status ON users (customer_id, status, id);
CREATE INDEX users_subrole ON users (customer_id, subrole_id, id);

CREATE TABLE authorities (
    id          bigint PRIMARY KEY,
    name        text NOT NULL UNIQUE,
    clean_name  text
);

CREATE TABLE user_authorities (
    user_id       uuid NOT NULL REFERENCES users (id),
    authority_id  bigint NOT NULL REFERENCES authorities (id),
    PRIMARY KEY (user_id, authority_id)
);
CREATE INDEX user_authorities_authority ON user_authorities (authority_id, user_id);

-- Read only by a server that runs with --legacy-credentials.
CREATE TABLE legacy_credentials (
    user_id       uuid PRIMARY KEY REFERENCES users (id),
    access_token  text,
    vcs_password  text
);
