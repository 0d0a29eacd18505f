-- Deletes of users and of their customer in one statement are counted when both are
-- gone, and the counters with them: there is nothing left to count for.
CREATE OR REPLACE FUNCTION change_user_count(of_customer uuid, of_status text, difference bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    free bigint;
BEGIN
    SELECT part INTO free FROM user_counts WHERE customer_id = of_customer AND status = of_status
        LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    IF FOUND THEN
        UPDATE user_counts SET users = users + difference
            WHERE customer_id = of_customer AND status = of_status AND part = free;
    ELSE
        INSERT INTO user_counts (customer_id, status, users) SELECT id, of_status, difference FROM customers WHERE id = of_customer;
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION change_user_month(of_customer uuid, of_month timestamptz, difference bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    free bigint;
BEGIN
    SELECT part INTO free FROM user_months WHERE customer_id = of_customer AND month = of_month
        LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    IF FOUND THEN
        UPDATE user_months SET users = users + difference
            WHERE customer_id = of_customer AND month = of_month AND part = free;
    ELSE
        INSERT INTO user_months (customer_id, month, users) SELECT id, of_month, difference FROM customers WHERE id = of_customer;
    END IF;
END
$$;
