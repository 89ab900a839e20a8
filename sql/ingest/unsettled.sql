-- Links that end in a text which is itself linked onwards: none are left when every cluster is a star.
SELECT count(*) FROM links AS x JOIN links AS y ON y.a = x.b
