-- The clip library. Every statement that uses it is in this folder; audio itself is in files beside the database.
-- Text is stored as given; times are seconds; created_at is UTC, ISO 8601. Each database fills in the names in braces.

CREATE TABLE IF NOT EXISTS clip (
    id              {id},
    path            {text} NOT NULL,            -- of the audio, relative to the data folder
    sha256          {text} NOT NULL,            -- of the audio as little-endian 16-bit samples; clips may share a file
    duration_s      DOUBLE PRECISION NOT NULL CHECK (duration_s > 0),
    sample_rate     INTEGER NOT NULL,
    text_original   {text} NOT NULL,            -- as given to the engine, or the corpus's transcript
    text_normalized {text} NOT NULL,
    text_known      INTEGER NOT NULL CHECK (text_known IN (0, 1)),  -- 0: its words are unknown
    language        {text} NOT NULL,
    engine          {text} NOT NULL,
    model           {text} NOT NULL,
    voice           {text} NOT NULL,
    speaker         {text} NOT NULL,
    licence         {text} NOT NULL,
    settings        {text} NOT NULL,            -- JSON object
    request_id      {text} UNIQUE,              -- of generated and mined clips: the same request is never stored twice
    source          {text} UNIQUE,              -- of imported clips: corpus, ':', path inside the corpus
    parent_id       BIGINT REFERENCES clip (id) ON DELETE SET NULL,  -- the clip that this one was cut from
    start_s         DOUBLE PRECISION,
    end_s           DOUBLE PRECISION,
    created_at      {text} NOT NULL,
    state           {text} NOT NULL CHECK (state IN ('ready', 'rejected')),
    CHECK ((start_s IS NULL) = (end_s IS NULL))
);
CREATE INDEX IF NOT EXISTS clip_by_text ON clip {by_text};
CREATE INDEX IF NOT EXISTS clip_by_sha256 ON clip (sha256);
CREATE INDEX IF NOT EXISTS clip_by_engine ON clip (engine, language);
CREATE INDEX IF NOT EXISTS clip_by_parent ON clip (parent_id) WHERE parent_id IS NOT NULL;

-- The output of an acoustic model (the aligner) for a clip, frame by frame: computed once, stored as a file.
CREATE TABLE IF NOT EXISTS emission (
    clip_id BIGINT NOT NULL REFERENCES clip (id) ON DELETE CASCADE,
    aligner {text} NOT NULL,
    frames  INTEGER NOT NULL,
    file    {text} NOT NULL,                    -- relative to the data folder
    PRIMARY KEY (clip_id, aligner)
) {clustered};

-- The times of each word and phone of a clip, for mining and splicing.
CREATE TABLE IF NOT EXISTS alignment (
    clip_id    BIGINT NOT NULL REFERENCES clip (id) ON DELETE CASCADE,
    aligner    {text} NOT NULL,
    level      {text} NOT NULL CHECK (level IN ('word', 'phone')),
    position   INTEGER NOT NULL,                -- 0, 1, ... in the clip
    label      {text} NOT NULL,
    start_s    DOUBLE PRECISION NOT NULL,
    end_s      DOUBLE PRECISION NOT NULL,
    confidence DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (clip_id, aligner, level, position)
) {clustered};
