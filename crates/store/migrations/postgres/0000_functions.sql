-- Functions that SQLite has and PostgreSQL has not, under the names that the statements use.

CREATE FUNCTION max(a BIGINT, b BIGINT) RETURNS BIGINT LANGUAGE SQL IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN a IS NULL OR b IS NULL THEN NULL WHEN a > b THEN a ELSE b END;
CREATE FUNCTION min(a BIGINT, b BIGINT) RETURNS BIGINT LANGUAGE SQL IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN a IS NULL OR b IS NULL THEN NULL WHEN a < b THEN a ELSE b END;

-- The members of an object, or the elements of a list. A NUL, which no text can hold here, is a replacement character.
CREATE FUNCTION json_each(doc TEXT) RETURNS TABLE (key TEXT, value TEXT) LANGUAGE SQL IMMUTABLE PARALLEL SAFE AS $$
    SELECT o.key, o.value FROM (SELECT replace(doc, '\u0000', '\ufffd')::JSON AS d) AS j, json_each_text(CASE WHEN json_typeof(j.d) = 'object' THEN j.d ELSE '{}' END) AS o
    UNION ALL
    SELECT NULL, e.value FROM (SELECT replace(doc, '\u0000', '\ufffd')::JSON AS d) AS j,
        json_array_elements_text(CASE WHEN json_typeof(j.d) = 'array' THEN j.d ELSE '[]' END) AS e
$$;
