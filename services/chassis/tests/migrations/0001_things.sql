CREATE TABLE things (id int8 PRIMARY KEY, name text NOT NULL);
