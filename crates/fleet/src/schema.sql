-- The tables of tower-ws-fleet, version 1. Whoever applies them by hand applies all of it; it may be
-- applied again.

-- A lane: who owns it (each owner has a larger token), until when, for how long he renews it each
-- time, and how far he has come.
CREATE TABLE IF NOT EXISTS tower_ws_lane (
    fleet text NOT NULL,
    name text NOT NULL,
    token bigint NOT NULL,
    until timestamptz NOT NULL,
    lease interval NOT NULL,
    committed bigint NOT NULL,
    first_id bigint NOT NULL,
    PRIMARY KEY (fleet, name)
) WITH (fillfactor = 50);

-- What a lane holds. It is written once, marked once at most, and removed.
CREATE TABLE IF NOT EXISTS tower_ws_message (
    fleet text NOT NULL,
    lane text NOT NULL,
    seq bigint NOT NULL,
    accepted bigint NOT NULL,
    deadline bigint,
    replay smallint NOT NULL,
    leaving boolean NOT NULL,
    size bigint NOT NULL,
    payload bytea NOT NULL,
    PRIMARY KEY (fleet, lane, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02);

-- A limit, in nanoseconds since 1970: until when it is used up (GCRA), the last moment that was
-- seen, and until when it pauses.
CREATE TABLE IF NOT EXISTS tower_ws_limit (
    fleet text NOT NULL,
    name text NOT NULL,
    busy bigint NOT NULL DEFAULT 0,
    seen bigint NOT NULL DEFAULT 0,
    paused bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (fleet, name)
) WITH (fillfactor = 50);

-- A credential, sealed or not, and who fetches the next one.
CREATE TABLE IF NOT EXISTS tower_ws_token (
    fleet text NOT NULL,
    name text NOT NULL,
    generation bigint NOT NULL DEFAULT 0,
    secret bytea,
    expires bigint,
    claim bigint NOT NULL DEFAULT 0,
    claimed_until timestamptz NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (fleet, name)
);

CREATE OR REPLACE FUNCTION tower_ws_now() RETURNS bigint LANGUAGE sql VOLATILE AS
$$ SELECT (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint $$;

-- Makes a lane somebody's for so many milliseconds, if nobody has it. Returns his token, or NULL.
CREATE OR REPLACE FUNCTION tower_ws_acquire(fleet_ text, name_ text, lease_ bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    length_ interval := lease_ * interval '1 millisecond';
    token_ bigint;
BEGIN
    INSERT INTO tower_ws_lane (fleet, name, token, until, lease, committed, first_id)
        VALUES (fleet_, name_, 1, clock_timestamp() + length_, length_, 0, 1)
        ON CONFLICT DO NOTHING RETURNING token INTO token_;
    IF token_ IS NULL THEN
        UPDATE tower_ws_lane SET token = token + 1, until = clock_timestamp() + length_, lease = length_, committed = 0
            WHERE fleet = fleet_ AND name = name_ AND until < clock_timestamp() RETURNING token INTO token_;
    END IF;
    IF token_ IS NULL THEN
        -- If the clock was set back, its owner has it for as long as if he had renewed it now.
        UPDATE tower_ws_lane SET until = clock_timestamp() + lease
            WHERE fleet = fleet_ AND name = name_ AND until > clock_timestamp() + lease;
    END IF;
    RETURN token_;
END $$;

-- Lets somebody fetch the credential after the one of this generation, for so many milliseconds, if
-- nobody does. Returns the number of his claim, or NULL.
CREATE OR REPLACE FUNCTION tower_ws_claim(fleet_ text, name_ text, seen_ bigint, length_ bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    until_ timestamptz := clock_timestamp() + length_ * interval '1 millisecond';
    claim_ bigint;
BEGIN
    INSERT INTO tower_ws_token (fleet, name) VALUES (fleet_, name_) ON CONFLICT DO NOTHING;
    UPDATE tower_ws_token SET claim = claim + 1, claimed_until = until_
        WHERE fleet = fleet_ AND name = name_ AND generation = seen_ AND claimed_until < clock_timestamp()
        RETURNING claim INTO claim_;
    IF claim_ IS NULL THEN
        -- If the clock was set back.
        UPDATE tower_ws_token SET claimed_until = until_
            WHERE fleet = fleet_ AND name = name_ AND claimed_until > clock_timestamp() + length_ * interval '1 millisecond';
    END IF;
    RETURN claim_;
END $$;

-- The row of a limit, locked, by a clock that was not set back.
CREATE OR REPLACE FUNCTION tower_ws_limit_row(fleet_ text, name_ text) RETURNS tower_ws_limit LANGUAGE plpgsql AS $$
DECLARE
    l tower_ws_limit;
    now_ bigint;
BEGIN
    -- A limit that a crash sets back by some milliseconds is as good; a lane must not be.
    PERFORM set_config('synchronous_commit', 'off', true);
    LOOP
        SELECT * INTO l FROM tower_ws_limit t WHERE t.fleet = fleet_ AND t.name = name_ FOR UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO tower_ws_limit (fleet, name) VALUES (fleet_, name_) ON CONFLICT DO NOTHING;
    END LOOP;
    now_ := tower_ws_now();
    IF now_ < l.seen - 1000000000 THEN
        -- The clock was set back: what was booked goes with it.
        l.busy := l.busy - (l.seen - now_);
        l.paused := l.paused - (l.seen - now_);
        l.seen := now_;
    END IF;
    l.seen := greatest(l.seen, now_);
    RETURN l;
END $$;

-- Books a turn: how long to wait for it, in nanoseconds. NULL: not now, and it was not to wait.
CREATE OR REPLACE FUNCTION tower_ws_turn(fleet_ text, name_ text, every bigint, burst bigint, at_once boolean)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    l tower_ws_limit := tower_ws_limit_row(fleet_, name_);
    at_ bigint := greatest(l.seen, l.busy - every * (burst - 1), l.paused);
BEGIN
    IF at_once AND at_ > l.seen THEN
        RETURN NULL;
    END IF;
    UPDATE tower_ws_limit t SET busy = greatest(l.busy, at_) + every, seen = l.seen, paused = l.paused
        WHERE t.fleet = fleet_ AND t.name = name_;
    RETURN at_ - l.seen;
END $$;

-- Pauses a limit for so many nanoseconds, or for as long as it does already. Returns for how long
-- it does.
CREATE OR REPLACE FUNCTION tower_ws_pause(fleet_ text, name_ text, length_ bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    l tower_ws_limit := tower_ws_limit_row(fleet_, name_);
    until_ bigint := greatest(l.paused, l.seen + length_);
BEGIN
    UPDATE tower_ws_limit t SET busy = l.busy, seen = l.seen, paused = until_
        WHERE t.fleet = fleet_ AND t.name = name_;
    RETURN until_ - l.seen;
END $$;
