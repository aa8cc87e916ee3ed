BEGIN TRANSACTION;
CREATE TABLE flowctx_attempt (
	run_key TEXT NOT NULL, 
	attempt INTEGER NOT NULL, 
	context TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	PRIMARY KEY (run_key, attempt)
);
INSERT INTO "flowctx_attempt" VALUES('15544aeadb66756c1746907501b6111d',1,'{"format_version":"1.0","run_id":"whole","trace_id":"cfa8ce6e3193199203b688bf0f4708bf","batch_id":"b1","started_at":"2026-01-09T12:01:00+00:00","params":{},"step_outputs":{},"metadata":{"engine":{"name":"dagster"},"as_of_source":"none"},"checkpoint":null,"partition":{"tier":"T1"},"as_of_date":null,"capture_id":"T1|b1","idempotency_key":"c39a093e40ac21a4944d68332b7b1538"}','8e8fa6a03fcd5014d17e55496769d46d');
INSERT INTO "flowctx_attempt" VALUES('4359981366e49a8e8c5ac1da3746f986',1,'{"format_version":"1.0","run_id":"head","trace_id":"72fb66612f3d578f534397e02d6ca86d","batch_id":"b2","started_at":"2026-01-09T12:02:00+00:00","params":{},"step_outputs":{},"metadata":{"engine":{"name":"dagster"},"as_of_source":"none"},"checkpoint":null,"partition":{"tier":"T1"},"as_of_date":null,"capture_id":"T1|b2","idempotency_key":"c39a093e40ac21a4944d68332b7b1538"}','5e2e8264ca24c53196b0876e57cf2b1a');
INSERT INTO "flowctx_attempt" VALUES('029728c3f69e4cee8b4a27a740f30abd',1,'{"format_version":"1.0","run_id":"tail","trace_id":"6d5903597b5ee2560a3a872ced4e9441","batch_id":"b2","started_at":"2026-01-09T12:03:00+00:00","params":{},"step_outputs":{},"metadata":{"engine":{"name":"dagster"},"as_of_source":"none"},"checkpoint":null,"partition":{"tier":"T2"},"as_of_date":null,"capture_id":"T2|b2","idempotency_key":"8e2e3fbae491fa46223d7a3510c10465"}','36187338073b2fa30ffe5ce7afc8cab7');
INSERT INTO "flowctx_attempt" VALUES('c43aa02b91188cb9d05e011449792a44',1,'{"format_version":"1.0","run_id":"again","trace_id":"feaf823ccc368bb47223fddfe2ae4fb2","batch_id":"b3","started_at":"2026-01-09T12:04:00+00:00","params":{},"step_outputs":{},"metadata":{"engine":{"name":"dagster"},"as_of_source":"none"},"checkpoint":null,"partition":{"tier":"T1"},"as_of_date":null,"capture_id":"T1|b3","idempotency_key":"c39a093e40ac21a4944d68332b7b1538"}','5a821b76615703cbee38c8897259fed6');
INSERT INTO "flowctx_attempt" VALUES('b5d2677fb969dad64a2c31f08a89be46',1,'{"format_version":"1.0","run_id":"failed","trace_id":"082004fbcf44760883f0e8f8383fb480","batch_id":"b2","started_at":"2026-01-09T12:05:00+00:00","params":{},"step_outputs":{},"metadata":{"engine":{"name":"local"},"as_of_source":"none"},"checkpoint":null,"partition":{"tier":"T3"},"as_of_date":null,"capture_id":"T3|b2","idempotency_key":"486f974e6184fb3b0495e381980ab67e"}','77773d45c913821bb302eb0422118e8c');
INSERT INTO "flowctx_attempt" VALUES('9288a167d7632fa752ca5641710808db',1,'{"format_version":"1.0","run_id":"dead","trace_id":"c3670143f08d4df06c8acc225bac14fb","batch_id":"b2","started_at":"2026-01-09T12:06:00+00:00","params":{},"step_outputs":{},"metadata":{"engine":{"name":"airflow"},"as_of_source":"none"},"checkpoint":null,"partition":{"tier":"T4"},"as_of_date":null,"capture_id":"T4|b2","idempotency_key":"32c0d17f3833a1baaa95bf2edb52884d"}','0ca2d3d27bce1ce98fba39b8101d7778');
INSERT INTO "flowctx_attempt" VALUES('39aa7c9d595e41a2332ac7431669de09',1,'{"format_version":"1.0","run_id":"small","trace_id":"6cd9d19d92f0e1b135d917082cf4b163","batch_id":"g1","started_at":"2026-01-09T12:07:00+00:00","params":{},"step_outputs":{},"metadata":{"engine":{"name":"dagster"},"as_of_source":"none"},"checkpoint":null,"partition":{"tier":"T1"},"as_of_date":null,"capture_id":"T1|g1","idempotency_key":"f5258eba05381ba383ce1b10c1bd13e0"}','ce05f267885e53fa8e419c2a04db550e');
INSERT INTO "flowctx_attempt" VALUES('18756742b26b3b8e60ee3877ad78da3b',1,'{"format_version":"1.0","run_id":"large","trace_id":"eb734b94ca5569675a862b0ac1b4f095","batch_id":"g2","started_at":"2026-01-09T12:08:00+00:00","params":{},"step_outputs":{},"metadata":{"engine":{"name":"dagster"},"as_of_source":"none"},"checkpoint":null,"partition":{"tier":"T1"},"as_of_date":null,"capture_id":"T1|g2","idempotency_key":"f5258eba05381ba383ce1b10c1bd13e0"}','31f9cf12cf7b9a0383caa4a1229424e0');
INSERT INTO "flowctx_attempt" VALUES('b85cdba5d59480537d61730c442297ce',1,'{"format_version":"1.0","run_id":"day-8","trace_id":"6c6d67214e1466b1b0a55f0c45b83cd4","batch_id":"restate","started_at":"2026-01-09T12:09:00+00:00","params":{},"step_outputs":{},"metadata":{"engine":{"name":"airflow"},"as_of_source":"caller"},"checkpoint":null,"partition":null,"as_of_date":"2026-01-08","capture_id":"restate","idempotency_key":"284aa074646210396af58d4fbf64b897"}','cf154b0f9e984c98a69744708657b5cf');
INSERT INTO "flowctx_attempt" VALUES('ba19d49bcca2ee4cc2536f00ab6b28a7',1,'{"format_version":"1.0","run_id":"day-9","trace_id":"8169374044181763e53a16ebe76b84a8","batch_id":"restate","started_at":"2026-01-09T12:10:00+00:00","params":{},"step_outputs":{},"metadata":{"engine":{"name":"airflow"},"as_of_source":"caller"},"checkpoint":null,"partition":null,"as_of_date":"2026-01-09","capture_id":"restate","idempotency_key":"b35c04126b51956620d1b491b23c839c"}','afdc66a29e470d8e12b03fcc529e49b6');
CREATE TABLE flowctx_batch (
	batch_id TEXT NOT NULL, 
	workflow TEXT NOT NULL, 
	target TEXT, 
	selection TEXT, 
	digest TEXT, 
	total INTEGER, 
	params TEXT NOT NULL, 
	params_from TEXT, 
	created_at TEXT NOT NULL, 
	engine TEXT, 
	canceled_at TEXT, 
	launcher TEXT, 
	launcher_until TEXT, 
	PRIMARY KEY (batch_id)
);
INSERT INTO "flowctx_batch" VALUES('b2','flow',NULL,NULL,NULL,4,'{}',NULL,'2026-01-09T12:00:00.000000+00:00',NULL,NULL,NULL,NULL);
CREATE TABLE flowctx_capture (
	subject TEXT NOT NULL, 
	capture_id TEXT NOT NULL, 
	revision INTEGER NOT NULL, 
	token INTEGER NOT NULL, 
	holder TEXT NOT NULL, 
	state TEXT NOT NULL, 
	workflow TEXT, 
	partition TEXT, 
	run_id TEXT, 
	lease_until TEXT NOT NULL, 
	claimed_at TEXT NOT NULL, 
	completed_at TEXT, 
	PRIMARY KEY (subject, capture_id)
);
INSERT INTO "flowctx_capture" VALUES('c39a093e40ac21a4944d68332b7b1538','T1|b1',1,1,'15544aeadb66756c1746907501b6111d','complete','flow','tier=T1','whole','2026-01-09T12:01:00.000000+00:00','2026-01-09T12:01:00.000000+00:00','2026-01-09T12:01:00.000000+00:00');
INSERT INTO "flowctx_capture" VALUES('c39a093e40ac21a4944d68332b7b1538','T1|b2',2,1,'4359981366e49a8e8c5ac1da3746f986','complete','flow','tier=T1','head','2026-01-09T12:02:00.000000+00:00','2026-01-09T12:02:00.000000+00:00','2026-01-09T12:02:00.000000+00:00');
INSERT INTO "flowctx_capture" VALUES('8e2e3fbae491fa46223d7a3510c10465','T2|b2',1,1,'029728c3f69e4cee8b4a27a740f30abd','complete','flow','tier=T2','tail','2026-01-09T12:03:00.000000+00:00','2026-01-09T12:03:00.000000+00:00','2026-01-09T12:03:00.000000+00:00');
INSERT INTO "flowctx_capture" VALUES('c39a093e40ac21a4944d68332b7b1538','T1|b3',3,1,'c43aa02b91188cb9d05e011449792a44','complete','flow','tier=T1','again','2026-01-09T12:04:00.000000+00:00','2026-01-09T12:04:00.000000+00:00','2026-01-09T12:04:00.000000+00:00');
INSERT INTO "flowctx_capture" VALUES('486f974e6184fb3b0495e381980ab67e','T3|b2',1,1,'b5d2677fb969dad64a2c31f08a89be46','released','flow','tier=T3','failed','2026-01-09T12:05:00.000000+00:00','2026-01-09T12:05:00.000000+00:00',NULL);
INSERT INTO "flowctx_capture" VALUES('32c0d17f3833a1baaa95bf2edb52884d','T4|b2',1,1,'9288a167d7632fa752ca5641710808db','held','flow','tier=T4','dead','2026-01-09T12:07:00.000000+00:00','2026-01-09T12:06:00.000000+00:00',NULL);
INSERT INTO "flowctx_capture" VALUES('f5258eba05381ba383ce1b10c1bd13e0','T1|g1',1,1,'39aa7c9d595e41a2332ac7431669de09','complete','grew','tier=T1','small','2026-01-09T12:07:00.000000+00:00','2026-01-09T12:07:00.000000+00:00','2026-01-09T12:07:00.000000+00:00');
INSERT INTO "flowctx_capture" VALUES('f5258eba05381ba383ce1b10c1bd13e0','T1|g2',2,1,'18756742b26b3b8e60ee3877ad78da3b','complete','grew','tier=T1','large','2026-01-09T12:08:00.000000+00:00','2026-01-09T12:08:00.000000+00:00','2026-01-09T12:08:00.000000+00:00');
INSERT INTO "flowctx_capture" VALUES('284aa074646210396af58d4fbf64b897','restate',1,1,'b85cdba5d59480537d61730c442297ce','complete','daily',NULL,'day-8','2026-01-09T12:09:00.000000+00:00','2026-01-09T12:09:00.000000+00:00','2026-01-09T12:09:00.000000+00:00');
INSERT INTO "flowctx_capture" VALUES('b35c04126b51956620d1b491b23c839c','restate',1,1,'ba19d49bcca2ee4cc2536f00ab6b28a7','released','daily',NULL,'day-9','2026-01-09T12:10:00.000000+00:00','2026-01-09T12:10:00.000000+00:00',NULL);
CREATE TABLE flowctx_launch (
	batch_id TEXT NOT NULL, 
	partition TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	engine TEXT NOT NULL, 
	state TEXT NOT NULL, 
	attempt INTEGER NOT NULL, 
	started_at TEXT, 
	ended_at TEXT, 
	heard_at TEXT NOT NULL, 
	step TEXT, 
	error TEXT, 
	PRIMARY KEY (batch_id, partition)
);
INSERT INTO "flowctx_launch" VALUES('b2','tier=T1','head','dagster','ok',1,NULL,NULL,'2026-01-09T12:10:00.000000+00:00',NULL,NULL);
INSERT INTO "flowctx_launch" VALUES('b2','tier=T5','x','airflow','canceled',1,NULL,NULL,'2026-01-09T12:10:00.000000+00:00',NULL,NULL);
CREATE TABLE flowctx_run (
	run_key TEXT NOT NULL, 
	workflow TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	partition TEXT, 
	as_of_date TEXT, 
	batch_id TEXT, 
	status TEXT NOT NULL, 
	attempt INTEGER NOT NULL, 
	fence INTEGER NOT NULL, 
	engine TEXT NOT NULL, 
	target TEXT, 
	steps TEXT NOT NULL, 
	subject TEXT, 
	capture_id TEXT, 
	started_at TEXT NOT NULL, 
	heard_at TEXT NOT NULL, 
	finished_at TEXT, 
	error TEXT, 
	PRIMARY KEY (run_key)
);
INSERT INTO "flowctx_run" VALUES('15544aeadb66756c1746907501b6111d','flow','whole','tier=T1',NULL,'b1','ok',1,1,'dagster',NULL,'["fetch","check","load"]','c39a093e40ac21a4944d68332b7b1538','T1|b1','2026-01-09T12:01:00.000000+00:00','2026-01-09T12:01:00.000000+00:00','2026-01-09T12:01:00.000000+00:00',NULL);
INSERT INTO "flowctx_run" VALUES('4359981366e49a8e8c5ac1da3746f986','flow','head','tier=T1',NULL,'b2','ok',1,1,'dagster',NULL,'["fetch"]','c39a093e40ac21a4944d68332b7b1538','T1|b2','2026-01-09T12:02:00.000000+00:00','2026-01-09T12:02:00.000000+00:00','2026-01-09T12:02:00.000000+00:00',NULL);
INSERT INTO "flowctx_run" VALUES('029728c3f69e4cee8b4a27a740f30abd','flow','tail','tier=T2',NULL,'b2','ok',1,1,'dagster',NULL,'["load"]','8e2e3fbae491fa46223d7a3510c10465','T2|b2','2026-01-09T12:03:00.000000+00:00','2026-01-09T12:03:00.000000+00:00','2026-01-09T12:03:00.000000+00:00',NULL);
INSERT INTO "flowctx_run" VALUES('c43aa02b91188cb9d05e011449792a44','flow','again','tier=T1',NULL,'b3','ok',1,1,'dagster',NULL,'["fetch","check","load"]','c39a093e40ac21a4944d68332b7b1538','T1|b3','2026-01-09T12:04:00.000000+00:00','2026-01-09T12:04:00.000000+00:00','2026-01-09T12:04:00.000000+00:00',NULL);
INSERT INTO "flowctx_run" VALUES('b5d2677fb969dad64a2c31f08a89be46','flow','failed','tier=T3',NULL,'b2','failed',1,1,'local',NULL,'["fetch"]','486f974e6184fb3b0495e381980ab67e','T3|b2','2026-01-09T12:05:00.000000+00:00','2026-01-09T12:05:00.000000+00:00','2026-01-09T12:05:00.000000+00:00','no rows');
INSERT INTO "flowctx_run" VALUES('9288a167d7632fa752ca5641710808db','flow','dead','tier=T4',NULL,'b2','running',1,1,'airflow',NULL,'["fetch"]','32c0d17f3833a1baaa95bf2edb52884d','T4|b2','2026-01-09T12:06:00.000000+00:00','2026-01-09T12:06:00.000000+00:00',NULL,NULL);
INSERT INTO "flowctx_run" VALUES('39aa7c9d595e41a2332ac7431669de09','grew','small','tier=T1',NULL,'g1','ok',1,1,'dagster',NULL,'["fetch"]','f5258eba05381ba383ce1b10c1bd13e0','T1|g1','2026-01-09T12:07:00.000000+00:00','2026-01-09T12:07:00.000000+00:00','2026-01-09T12:07:00.000000+00:00',NULL);
INSERT INTO "flowctx_run" VALUES('18756742b26b3b8e60ee3877ad78da3b','grew','large','tier=T1',NULL,'g2','ok',1,1,'dagster',NULL,'["fetch","check"]','f5258eba05381ba383ce1b10c1bd13e0','T1|g2','2026-01-09T12:08:00.000000+00:00','2026-01-09T12:08:00.000000+00:00','2026-01-09T12:08:00.000000+00:00',NULL);
INSERT INTO "flowctx_run" VALUES('b85cdba5d59480537d61730c442297ce','daily','day-8',NULL,'2026-01-08','restate','ok',1,1,'airflow',NULL,'["fetch","check","load"]','284aa074646210396af58d4fbf64b897','restate','2026-01-09T12:09:00.000000+00:00','2026-01-09T12:09:00.000000+00:00','2026-01-09T12:09:00.000000+00:00',NULL);
INSERT INTO "flowctx_run" VALUES('ba19d49bcca2ee4cc2536f00ab6b28a7','daily','day-9',NULL,'2026-01-09','restate','failed',1,1,'airflow',NULL,'["fetch","check","load"]','b35c04126b51956620d1b491b23c839c','restate','2026-01-09T12:10:00.000000+00:00','2026-01-09T12:10:00.000000+00:00','2026-01-09T12:10:00.000000+00:00','bad');
CREATE TABLE flowctx_schema (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT flowctx_schema_pkc PRIMARY KEY (version_num)
);
INSERT INTO "flowctx_schema" VALUES('0002');
CREATE TABLE flowctx_step (
	run_key TEXT NOT NULL, 
	step TEXT NOT NULL, 
	run_attempt INTEGER NOT NULL, 
	status TEXT NOT NULL, 
	attempts INTEGER NOT NULL, 
	started_at TEXT NOT NULL, 
	seconds FLOAT NOT NULL, 
	version TEXT, 
	payload TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	PRIMARY KEY (run_key, step)
);
INSERT INTO "flowctx_step" VALUES('15544aeadb66756c1746907501b6111d','fetch',1,'ok',1,'2026-01-09T12:01:00.000000+00:00',0.0,NULL,'{"output":{}}','a789cefad2402101c747a42d1cbef14d');
INSERT INTO "flowctx_step" VALUES('15544aeadb66756c1746907501b6111d','check',1,'ok',1,'2026-01-09T12:01:00.000000+00:00',0.0,NULL,'{"output":{},"after":["fetch"]}','47827b1553f680ccd98ec858be2dff0d');
INSERT INTO "flowctx_step" VALUES('15544aeadb66756c1746907501b6111d','load',1,'ok',1,'2026-01-09T12:01:00.000000+00:00',0.0,NULL,'{"output":{},"after":["check"]}','a9ea1b3505cfceeacfc2b7921028a5a4');
INSERT INTO "flowctx_step" VALUES('4359981366e49a8e8c5ac1da3746f986','fetch',1,'ok',1,'2026-01-09T12:02:00.000000+00:00',0.0,NULL,'{"output":{}}','a789cefad2402101c747a42d1cbef14d');
INSERT INTO "flowctx_step" VALUES('029728c3f69e4cee8b4a27a740f30abd','load',1,'ok',1,'2026-01-09T12:03:00.000000+00:00',0.0,NULL,'{"output":{},"after":["check"]}','a9ea1b3505cfceeacfc2b7921028a5a4');
INSERT INTO "flowctx_step" VALUES('c43aa02b91188cb9d05e011449792a44','fetch',1,'ok',1,'2026-01-09T12:04:00.000000+00:00',0.0,NULL,'{"output":{}}','a789cefad2402101c747a42d1cbef14d');
INSERT INTO "flowctx_step" VALUES('c43aa02b91188cb9d05e011449792a44','check',1,'ok',1,'2026-01-09T12:04:00.000000+00:00',0.0,NULL,'{"output":{},"after":["fetch"]}','47827b1553f680ccd98ec858be2dff0d');
INSERT INTO "flowctx_step" VALUES('c43aa02b91188cb9d05e011449792a44','load',1,'ok',1,'2026-01-09T12:04:00.000000+00:00',0.0,NULL,'{"output":{},"after":["check"]}','a9ea1b3505cfceeacfc2b7921028a5a4');
INSERT INTO "flowctx_step" VALUES('b5d2677fb969dad64a2c31f08a89be46','fetch',1,'ok',1,'2026-01-09T12:05:00.000000+00:00',0.0,NULL,'{"output":{}}','a789cefad2402101c747a42d1cbef14d');
INSERT INTO "flowctx_step" VALUES('9288a167d7632fa752ca5641710808db','fetch',1,'ok',1,'2026-01-09T12:06:00.000000+00:00',0.0,NULL,'{"output":{}}','a789cefad2402101c747a42d1cbef14d');
INSERT INTO "flowctx_step" VALUES('39aa7c9d595e41a2332ac7431669de09','fetch',1,'ok',1,'2026-01-09T12:07:00.000000+00:00',0.0,NULL,'{"output":{}}','a789cefad2402101c747a42d1cbef14d');
INSERT INTO "flowctx_step" VALUES('18756742b26b3b8e60ee3877ad78da3b','fetch',1,'ok',1,'2026-01-09T12:08:00.000000+00:00',0.0,NULL,'{"output":{}}','a789cefad2402101c747a42d1cbef14d');
INSERT INTO "flowctx_step" VALUES('18756742b26b3b8e60ee3877ad78da3b','check',1,'ok',1,'2026-01-09T12:08:00.000000+00:00',0.0,NULL,'{"output":{},"after":["fetch"]}','47827b1553f680ccd98ec858be2dff0d');
INSERT INTO "flowctx_step" VALUES('b85cdba5d59480537d61730c442297ce','fetch',1,'ok',1,'2026-01-09T12:09:00.000000+00:00',0.0,NULL,'{"output":{}}','a789cefad2402101c747a42d1cbef14d');
INSERT INTO "flowctx_step" VALUES('b85cdba5d59480537d61730c442297ce','check',1,'ok',1,'2026-01-09T12:09:00.000000+00:00',0.0,NULL,'{"output":{},"after":["fetch"]}','47827b1553f680ccd98ec858be2dff0d');
INSERT INTO "flowctx_step" VALUES('b85cdba5d59480537d61730c442297ce','load',1,'ok',1,'2026-01-09T12:09:00.000000+00:00',0.0,NULL,'{"output":{},"after":["check"]}','a9ea1b3505cfceeacfc2b7921028a5a4');
INSERT INTO "flowctx_step" VALUES('ba19d49bcca2ee4cc2536f00ab6b28a7','fetch',1,'ok',1,'2026-01-09T12:10:00.000000+00:00',0.0,NULL,'{"output":{}}','a789cefad2402101c747a42d1cbef14d');
INSERT INTO "flowctx_step" VALUES('ba19d49bcca2ee4cc2536f00ab6b28a7','check',1,'ok',1,'2026-01-09T12:10:00.000000+00:00',0.0,NULL,'{"output":{},"after":["fetch"]}','47827b1553f680ccd98ec858be2dff0d');
INSERT INTO "flowctx_step" VALUES('ba19d49bcca2ee4cc2536f00ab6b28a7','load',1,'ok',1,'2026-01-09T12:10:00.000000+00:00',0.0,NULL,'{"output":{},"after":["check"]}','a9ea1b3505cfceeacfc2b7921028a5a4');
CREATE INDEX ix_flowctx_run_run_id ON flowctx_run (run_id);
CREATE INDEX ix_flowctx_run_started_at ON flowctx_run (started_at);
CREATE UNIQUE INDEX ix_flowctx_capture_revision ON flowctx_capture (subject, revision);
CREATE INDEX ix_flowctx_capture_workflow ON flowctx_capture (workflow, partition);
CREATE INDEX ix_flowctx_run_batch ON flowctx_run (batch_id, partition, run_key);
COMMIT;
