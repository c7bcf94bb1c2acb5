-- The clip library. Every statement that uses it is in this folder; audio itself is in files beside the database.
-- Text is stored as given; times are seconds; created_at is UTC, ISO 8601.

CREATE TABLE IF NOT EXISTS clip (
    id              INTEGER PRIMARY KEY,
    path            TEXT NOT NULL,              -- of the audio, relative to the data folder
    sha256          TEXT NOT NULL,              -- of the audio as little-endian 16-bit samples; clips may share a file
    duration_s      REAL NOT NULL CHECK (duration_s > 0),
    sample_rate     INTEGER NOT NULL,
    text_original   TEXT NOT NULL,              -- as given to the engine, or the corpus's transcript
    text_normalized TEXT NOT NULL,
    text_known      INTEGER NOT NULL CHECK (text_known IN (0, 1)),  -- 0: its words are unknown
    language        TEXT NOT NULL,
    engine          TEXT NOT NULL,
    model           TEXT NOT NULL,
    voice           TEXT NOT NULL,
    speaker         TEXT NOT NULL,
    licence         TEXT NOT NULL,
    settings        TEXT NOT NULL,              -- JSON object
    request_id      TEXT UNIQUE,                -- of generated and mined clips: the same request is never stored twice
    source          TEXT UNIQUE,                -- of imported clips: corpus, ':', path inside the corpus
    parent_id       INTEGER REFERENCES clip (id) ON DELETE SET NULL,  -- the clip that this one was cut from
    start_s         REAL,
    end_s           REAL,
    created_at      TEXT NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('ready', 'rejected')),
    CHECK ((start_s IS NULL) = (end_s IS NULL))
);
CREATE INDEX IF NOT EXISTS clip_by_text ON clip (language, text_normalized);
CREATE INDEX IF NOT EXISTS clip_by_sha256 ON clip (sha256);
CREATE INDEX IF NOT EXISTS clip_by_engine ON clip (engine, language);
CREATE INDEX IF NOT EXISTS clip_by_parent ON clip (parent_id) WHERE parent_id IS NOT NULL;

-- Full-text search over the transcripts. An apostrophe belongs to its word; accents count.
CREATE VIRTUAL TABLE IF NOT EXISTS clip_fts USING fts5 (
    text_normalized, content = 'clip', content_rowid = 'id',
    tokenize = "unicode61 remove_diacritics 0 tokenchars ''''"
);
CREATE TRIGGER IF NOT EXISTS clip_fts_insert AFTER INSERT ON clip BEGIN
    INSERT INTO clip_fts (rowid, text_normalized) VALUES (new.id, new.text_normalized);
END;
CREATE TRIGGER IF NOT EXISTS clip_fts_delete AFTER DELETE ON clip BEGIN
    INSERT INTO clip_fts (clip_fts, rowid, text_normalized) VALUES ('delete', old.id, old.text_normalized);
END;
CREATE TRIGGER IF NOT EXISTS clip_fts_update AFTER UPDATE OF text_normalized ON clip BEGIN
    INSERT INTO clip_fts (clip_fts, rowid, text_normalized) VALUES ('delete', old.id, old.text_normalized);
    INSERT INTO clip_fts (rowid, text_normalized) VALUES (new.id, new.text_normalized);
END;

-- The output of an acoustic model (the aligner) for a clip, frame by frame: computed once, stored as a file.
CREATE TABLE IF NOT EXISTS emission (
    clip_id INTEGER NOT NULL REFERENCES clip (id) ON DELETE CASCADE,
    aligner TEXT NOT NULL,
    frames  INTEGER NOT NULL,
    file    TEXT NOT NULL,                      -- relative to the data folder
    PRIMARY KEY (clip_id, aligner)
) WITHOUT ROWID;

-- The times of each word and phone of a clip, for mining and splicing.
CREATE TABLE IF NOT EXISTS alignment (
    clip_id    INTEGER NOT NULL REFERENCES clip (id) ON DELETE CASCADE,
    aligner    TEXT NOT NULL,
    level      TEXT NOT NULL CHECK (level IN ('word', 'phone')),
    position   INTEGER NOT NULL,                -- 0, 1, ... in the clip
    label      TEXT NOT NULL,
    start_s    REAL NOT NULL,
    end_s      REAL NOT NULL,
    confidence REAL NOT NULL,
    PRIMARY KEY (clip_id, aligner, level, position)
) WITHOUT ROWID;
