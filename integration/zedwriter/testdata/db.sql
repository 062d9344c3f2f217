PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE migrations (
 domain TEXT,
 step INTEGER,
 migration TEXT
);
INSERT INTO migrations VALUES('CommandPaletteDB',0,replace('CREATE TABLE IF NOT EXISTS command_invocations (\n  id INTEGER PRIMARY KEY AUTOINCREMENT,\n  command_name TEXT NOT NULL,\n  user_query TEXT NOT NULL,\n  last_invoked INTEGER DEFAULT (unixepoch ()) NOT NULL\n) STRICT;','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',0,replace('CREATE TABLE workspaces (\n  workspace_id INTEGER PRIMARY KEY,\n  workspace_location BLOB UNIQUE,\n  dock_visible INTEGER,\n  dock_anchor TEXT,\n  dock_pane INTEGER,\n  left_sidebar_open INTEGER,\n  timestamp TEXT DEFAULT CURRENT_TIMESTAMP NOT NULL,\n  FOREIGN KEY (dock_pane) REFERENCES panes (pane_id)\n) STRICT;\nCREATE TABLE pane_groups (\n  group_id INTEGER PRIMARY KEY,\n  workspace_id INTEGER NOT NULL,\n  parent_group_id INTEGER,\n  position INTEGER,\n  axis TEXT NOT NULL,\n  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE ON UPDATE CASCADE,\n  FOREIGN KEY (parent_group_id) REFERENCES pane_groups (group_id) ON DELETE CASCADE\n) STRICT;\nCREATE TABLE panes (\n  pane_id INTEGER PRIMARY KEY,\n  workspace_id INTEGER NOT NULL,\n  active INTEGER NOT NULL,\n  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE ON UPDATE CASCADE\n) STRICT;\nCREATE TABLE center_panes (\n  pane_id INTEGER PRIMARY KEY,\n  parent_group_id INTEGER,\n  position INTEGER,\n  FOREIGN KEY (pane_id) REFERENCES panes (pane_id) ON DELETE CASCADE,\n  FOREIGN KEY (parent_group_id) REFERENCES pane_groups (group_id) ON DELETE CASCADE\n) STRICT;\nCREATE TABLE items (\n  item_id INTEGER NOT NULL,\n  workspace_id INTEGER NOT NULL,\n  pane_id INTEGER NOT NULL,\n  kind TEXT NOT NULL,\n  position INTEGER NOT NULL,\n  active INTEGER NOT NULL,\n  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE ON UPDATE CASCADE,\n  FOREIGN KEY (pane_id) REFERENCES panes (pane_id) ON DELETE CASCADE,\n  PRIMARY KEY (item_id, workspace_id)\n) STRICT;','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',1,replace('ALTER TABLE\n  workspaces\nADD\n  COLUMN window_state TEXT;\nALTER TABLE\n  workspaces\nADD\n  COLUMN window_x REAL;\nALTER TABLE\n  workspaces\nADD\n  COLUMN window_y REAL;\nALTER TABLE\n  workspaces\nADD\n  COLUMN window_width REAL;\nALTER TABLE\n  workspaces\nADD\n  COLUMN window_height REAL;\nALTER TABLE\n  workspaces\nADD\n  COLUMN display BLOB;','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',2,replace('CREATE TABLE workspaces_2 (\n  workspace_id INTEGER PRIMARY KEY,\n  workspace_location BLOB UNIQUE,\n  dock_visible INTEGER,\n  dock_anchor TEXT,\n  dock_pane INTEGER,\n  left_sidebar_open INTEGER,\n  timestamp TEXT DEFAULT CURRENT_TIMESTAMP NOT NULL,\n  window_state TEXT,\n  window_x REAL,\n  window_y REAL,\n  window_width REAL,\n  window_height REAL,\n  display BLOB\n) STRICT;\nINSERT INTO\n  workspaces_2\nSELECT\n  *\nFROM\n  workspaces;\nDROP TABLE workspaces;\nALTER TABLE\n  workspaces_2 RENAME TO workspaces;','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',3,replace('ALTER TABLE\n  workspaces\nADD\n  COLUMN left_dock_visible INTEGER;\nALTER TABLE\n  workspaces\nADD\n  COLUMN left_dock_active_panel TEXT;\nALTER TABLE\n  workspaces\nADD\n  COLUMN right_dock_visible INTEGER;\nALTER TABLE\n  workspaces\nADD\n  COLUMN right_dock_active_panel TEXT;\nALTER TABLE\n  workspaces\nADD\n  COLUMN bottom_dock_visible INTEGER;\nALTER TABLE\n  workspaces\nADD\n  COLUMN bottom_dock_active_panel TEXT;','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',4,replace('ALTER TABLE\n  workspaces\nADD\n  COLUMN left_dock_zoom INTEGER;\nALTER TABLE\n  workspaces\nADD\n  COLUMN right_dock_zoom INTEGER;\nALTER TABLE\n  workspaces\nADD\n  COLUMN bottom_dock_zoom INTEGER;','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',5,replace('ALTER TABLE\n  pane_groups\nADD\n  COLUMN flexes TEXT;','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',6,replace('ALTER TABLE\n  workspaces\nADD\n  COLUMN fullscreen INTEGER;','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',7,replace('ALTER TABLE\n  items\nADD\n  COLUMN preview INTEGER;','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',8,replace('ALTER TABLE\n  workspaces\nADD\n  COLUMN centered_layout INTEGER;','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',9,replace('CREATE TABLE remote_projects (\n  remote_project_id INTEGER NOT NULL UNIQUE,\n  path TEXT,\n  dev_server_name TEXT\n);\nALTER TABLE\n  workspaces\nADD\n  COLUMN remote_project_id INTEGER;\nALTER TABLE\n  workspaces RENAME COLUMN workspace_location TO local_paths;','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',10,replace('DROP TABLE remote_projects;\nCREATE TABLE dev_server_projects (\n  id INTEGER NOT NULL UNIQUE,\n  path TEXT,\n  dev_server_name TEXT\n);\nALTER TABLE\n  workspaces DROP COLUMN remote_project_id;\nALTER TABLE\n  workspaces\nADD\n  COLUMN dev_server_project_id INTEGER;','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',11,replace('ALTER TABLE\n  workspaces\nADD\n  COLUMN local_paths_order BLOB;','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',12,replace('ALTER TABLE\n  workspaces\nADD\n  COLUMN session_id TEXT DEFAULT NULL;','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',13,replace('ALTER TABLE\n  workspaces\nADD\n  COLUMN window_id INTEGER DEFAULT NULL;','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',14,replace('ALTER TABLE\n  panes\nADD\n  COLUMN pinned_count INTEGER DEFAULT 0;','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',15,replace('CREATE TABLE ssh_projects (\n  id INTEGER PRIMARY KEY,\n  host TEXT NOT NULL,\n  port INTEGER,\n  path TEXT NOT NULL,\n  user TEXT\n);\nALTER TABLE\n  workspaces\nADD\n  COLUMN ssh_project_id INTEGER REFERENCES ssh_projects (id) ON DELETE CASCADE;','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',16,replace('ALTER TABLE\n  ssh_projects RENAME COLUMN path TO paths;','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',17,replace('CREATE TABLE toolchains (\n  workspace_id INTEGER,\n  worktree_id INTEGER,\n  language_name TEXT NOT NULL,\n  name TEXT NOT NULL,\n  path TEXT NOT NULL,\n  PRIMARY KEY (workspace_id, worktree_id, language_name)\n);','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',18,replace('ALTER TABLE\n  toolchains\nADD\n  COLUMN raw_json TEXT DEFAULT "{}";','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',19,replace('CREATE TABLE breakpoints (\n  workspace_id INTEGER NOT NULL,\n  path TEXT NOT NULL,\n  breakpoint_location INTEGER NOT NULL,\n  kind INTEGER NOT NULL,\n  log_message TEXT,\n  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE ON UPDATE CASCADE\n);','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',20,replace('ALTER TABLE\n  workspaces\nADD\n  COLUMN local_paths_array TEXT;\nCREATE UNIQUE INDEX local_paths_array_uq ON workspaces (local_paths_array);\nALTER TABLE\n  workspaces\nADD\n  COLUMN local_paths_order_array TEXT;','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',21,replace('ALTER TABLE\n  breakpoints\nADD\n  COLUMN state INTEGER DEFAULT (0) NOT NULL','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',22,replace('ALTER TABLE\n  breakpoints DROP COLUMN kind','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',23,replace('ALTER TABLE\n  toolchains\nADD\n  COLUMN relative_worktree_path TEXT DEFAULT "" NOT NULL','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',24,replace('ALTER TABLE\n  breakpoints\nADD\n  COLUMN condition TEXT;\nALTER TABLE\n  breakpoints\nADD\n  COLUMN hit_condition TEXT;','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',25,replace('CREATE TABLE toolchains2 (\n  workspace_id INTEGER,\n  worktree_id INTEGER,\n  language_name TEXT NOT NULL,\n  name TEXT NOT NULL,\n  path TEXT NOT NULL,\n  raw_json TEXT NOT NULL,\n  relative_worktree_path TEXT NOT NULL,\n  PRIMARY KEY (\n    workspace_id,\n    worktree_id,\n    language_name,\n    relative_worktree_path\n  )\n) STRICT;\nINSERT INTO\n  toolchains2\nSELECT\n  *\nFROM\n  toolchains;\nDROP TABLE toolchains;\nALTER TABLE\n  toolchains2 RENAME TO toolchains;','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',26,replace('CREATE TABLE ssh_connections (\n  id INTEGER PRIMARY KEY,\n  host TEXT NOT NULL,\n  port INTEGER,\n  user TEXT\n);\nINSERT INTO\n  ssh_connections (host, port, user)\nSELECT\n  DISTINCT host,\n  port,\n  user\nFROM\n  ssh_projects;\nCREATE TABLE workspaces_2 (\n  workspace_id INTEGER PRIMARY KEY,\n  paths TEXT,\n  paths_order TEXT,\n  ssh_connection_id INTEGER REFERENCES ssh_connections (id),\n  timestamp TEXT DEFAULT CURRENT_TIMESTAMP NOT NULL,\n  window_state TEXT,\n  window_x REAL,\n  window_y REAL,\n  window_width REAL,\n  window_height REAL,\n  display BLOB,\n  left_dock_visible INTEGER,\n  left_dock_active_panel TEXT,\n  right_dock_visible INTEGER,\n  right_dock_active_panel TEXT,\n  bottom_dock_visible INTEGER,\n  bottom_dock_active_panel TEXT,\n  left_dock_zoom INTEGER,\n  right_dock_zoom INTEGER,\n  bottom_dock_zoom INTEGER,\n  fullscreen INTEGER,\n  centered_layout INTEGER,\n  session_id TEXT,\n  window_id INTEGER\n) STRICT;\nINSERT INTO\n  workspaces_2\nSELECT\n  workspaces.workspace_id,\n  CASE\n    WHEN ssh_projects.id IS NOT NULL THEN ssh_projects.paths\n    ELSE CASE\n      WHEN workspaces.local_paths_array IS NULL\n      OR workspaces.local_paths_array = "" THEN NULL\n      ELSE replace (\n        workspaces.local_paths_array,\n        '','',\n        CHAR (10)\n      )\n    END\n  END as paths,\n  CASE\n    WHEN ssh_projects.id IS NOT NULL THEN ""\n    ELSE workspaces.local_paths_order_array\n  END as paths_order,\n  CASE\n    WHEN ssh_projects.id IS NOT NULL THEN (\n      SELECT\n        ssh_connections.id\n      FROM\n        ssh_connections\n      WHERE\n        ssh_connections.host IS ssh_projects.host\n        AND ssh_connections.port IS ssh_projects.port\n        AND ssh_connections.user IS ssh_projects.user\n    )\n    ELSE NULL\n  END as ssh_connection_id,\n  workspaces.timestamp,\n  workspaces.window_state,\n  workspaces.window_x,\n  workspaces.window_y,\n  workspaces.window_width,\n  workspaces.window_height,\n  workspaces.display,\n  workspaces.left_dock_visible,\n  workspaces.left_dock_active_panel,\n  workspaces.right_dock_visible,\n  workspaces.right_dock_active_panel,\n  workspaces.bottom_dock_visible,\n  workspaces.bottom_dock_active_panel,\n  workspaces.left_dock_zoom,\n  workspaces.right_dock_zoom,\n  workspaces.bottom_dock_zoom,\n  workspaces.fullscreen,\n  workspaces.centered_layout,\n  workspaces.session_id,\n  workspaces.window_id\nFROM\n  workspaces\n  LEFT JOIN ssh_projects ON workspaces.ssh_project_id = ssh_projects.id;\nDELETE FROM\n  workspaces_2\nWHERE\n  workspace_id NOT IN (\n    SELECT\n      MAX (workspace_id)\n    FROM\n      workspaces_2\n    GROUP BY\n      ssh_connection_id,\n      paths\n  );\nDROP TABLE ssh_projects;\nDROP TABLE workspaces;\nALTER TABLE\n  workspaces_2 RENAME TO workspaces;\nCREATE UNIQUE INDEX ix_workspaces_location ON workspaces (ssh_connection_id, paths);','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',27,replace('UPDATE\n  workspaces\nSET\n  paths =CASE\n    WHEN substr (paths, 1, 2) = ''['' || ''"''\n    AND substr (paths, -2, 2) = ''"'' || '']'' THEN replace (\n      substr (paths, 3, length (paths) -4),\n      ''"'' || '','' || ''"'',\n      CHAR (10)\n    )\n    ELSE replace (paths, '','', CHAR (10))\n  END\nWHERE\n  paths IS NOT NULL','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',28,replace('CREATE TABLE remote_connections (\n  id INTEGER PRIMARY KEY,\n  kind TEXT NOT NULL,\n  host TEXT,\n  port INTEGER,\n  user TEXT,\n  distro TEXT\n);\nCREATE TABLE workspaces_2 (\n  workspace_id INTEGER PRIMARY KEY,\n  paths TEXT,\n  paths_order TEXT,\n  remote_connection_id INTEGER REFERENCES remote_connections (id),\n  timestamp TEXT DEFAULT CURRENT_TIMESTAMP NOT NULL,\n  window_state TEXT,\n  window_x REAL,\n  window_y REAL,\n  window_width REAL,\n  window_height REAL,\n  display BLOB,\n  left_dock_visible INTEGER,\n  left_dock_active_panel TEXT,\n  right_dock_visible INTEGER,\n  right_dock_active_panel TEXT,\n  bottom_dock_visible INTEGER,\n  bottom_dock_active_panel TEXT,\n  left_dock_zoom INTEGER,\n  right_dock_zoom INTEGER,\n  bottom_dock_zoom INTEGER,\n  fullscreen INTEGER,\n  centered_layout INTEGER,\n  session_id TEXT,\n  window_id INTEGER\n) STRICT;\nINSERT INTO\n  remote_connections\nSELECT\n  id,\n  "ssh" as kind,\n  host,\n  port,\n  user,\n  NULL as distro\nFROM\n  ssh_connections;\nINSERT INTO\n  workspaces_2\nSELECT\n  workspace_id,\n  paths,\n  paths_order,\n  ssh_connection_id as remote_connection_id,\n  timestamp,\n  window_state,\n  window_x,\n  window_y,\n  window_width,\n  window_height,\n  display,\n  left_dock_visible,\n  left_dock_active_panel,\n  right_dock_visible,\n  right_dock_active_panel,\n  bottom_dock_visible,\n  bottom_dock_active_panel,\n  left_dock_zoom,\n  right_dock_zoom,\n  bottom_dock_zoom,\n  fullscreen,\n  centered_layout,\n  session_id,\n  window_id\nFROM\n  workspaces;\nDROP TABLE workspaces;\nALTER TABLE\n  workspaces_2 RENAME TO workspaces;\nCREATE UNIQUE INDEX ix_workspaces_location ON workspaces (remote_connection_id, paths);','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',29,replace('CREATE TABLE user_toolchains (\n  remote_connection_id INTEGER,\n  workspace_id INTEGER NOT NULL,\n  worktree_id INTEGER NOT NULL,\n  relative_worktree_path TEXT NOT NULL,\n  language_name TEXT NOT NULL,\n  name TEXT NOT NULL,\n  path TEXT NOT NULL,\n  raw_json TEXT NOT NULL,\n  PRIMARY KEY (\n    workspace_id,\n    worktree_id,\n    relative_worktree_path,\n    language_name,\n    name,\n    path,\n    raw_json\n  )\n) STRICT;','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',30,'DROP TABLE ssh_connections;');
INSERT INTO migrations VALUES('WorkspaceDb',31,replace('ALTER TABLE\n  remote_connections\nADD\n  COLUMN name TEXT;\nALTER TABLE\n  remote_connections\nADD\n  COLUMN container_id TEXT;','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',32,replace('CREATE TABLE IF NOT EXISTS trusted_worktrees (\n  trust_id INTEGER PRIMARY KEY AUTOINCREMENT,\n  absolute_path TEXT,\n  user_name TEXT,\n  host_name TEXT\n) STRICT;','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',33,replace('CREATE TABLE toolchains2 (\012  workspace_id INTEGER,\012  worktree_root_path TEXT NOT NULL,\012  language_name TEXT NOT NULL,\012  name TEXT NOT NULL,\012  path TEXT NOT NULL,\012  raw_json TEXT NOT NULL,\012  relative_worktree_path TEXT NOT NULL,\012  PRIMARY KEY (\012    workspace_id,\012    worktree_root_path,\012    language_name,\012    relative_worktree_path\012  )\012) STRICT;\012INSERT\012  OR REPLACE INTO toolchains2\012SELECT\012  toolchains.workspace_id,\012  paths,\012  language_name,\012  name,\012  path,\012  raw_json,\012  relative_worktree_path\012FROM\012  toolchains\012  INNER JOIN workspaces ON toolchains.workspace_id = workspaces.workspace_id\012  AND instr (paths, ''\n'') = 0;\012DROP TABLE toolchains;\012ALTER TABLE\012  toolchains2 RENAME TO toolchains;','\012',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',34,replace('CREATE TABLE user_toolchains2 (\012  remote_connection_id INTEGER,\012  workspace_id INTEGER NOT NULL,\012  worktree_root_path TEXT NOT NULL,\012  relative_worktree_path TEXT NOT NULL,\012  language_name TEXT NOT NULL,\012  name TEXT NOT NULL,\012  path TEXT NOT NULL,\012  raw_json TEXT NOT NULL,\012  PRIMARY KEY (\012    workspace_id,\012    worktree_root_path,\012    relative_worktree_path,\012    language_name,\012    name,\012    path,\012    raw_json\012  )\012) STRICT;\012INSERT\012  OR REPLACE INTO user_toolchains2\012SELECT\012  user_toolchains.remote_connection_id,\012  user_toolchains.workspace_id,\012  paths,\012  relative_worktree_path,\012  language_name,\012  name,\012  path,\012  raw_json\012FROM\012  user_toolchains\012  INNER JOIN workspaces ON user_toolchains.workspace_id = workspaces.workspace_id\012  AND instr (paths, ''\n'') = 0;\012DROP TABLE user_toolchains;\012ALTER TABLE\012  user_toolchains2 RENAME TO user_toolchains;','\012',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',35,replace('ALTER TABLE\n  remote_connections\nADD\n  COLUMN use_podman BOOLEAN;','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',36,replace('ALTER TABLE\n  remote_connections\nADD\n  COLUMN remote_env TEXT;','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',37,replace('CREATE TABLE bookmarks (\n  workspace_id INTEGER NOT NULL,\n  path TEXT NOT NULL,\n  row INTEGER NOT NULL,\n  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE ON UPDATE CASCADE\n);','\n',char(10)));
INSERT INTO migrations VALUES('WorkspaceDb',38,replace('ALTER TABLE\n  workspaces\nADD\n  COLUMN identity_paths TEXT;\nALTER TABLE\n  workspaces\nADD\n  COLUMN identity_paths_order TEXT;','\n',char(10)));
INSERT INTO migrations VALUES('ComponentPreviewDb',0,replace('CREATE TABLE component_previews (\n  workspace_id INTEGER,\n  item_id INTEGER UNIQUE,\n  active_page_id TEXT,\n  PRIMARY KEY (workspace_id, item_id),\n  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE\n) STRICT;','\n',char(10)));
INSERT INTO migrations VALUES('EditorDb',0,replace('CREATE TABLE editors (\n  item_id INTEGER NOT NULL,\n  workspace_id INTEGER NOT NULL,\n  path BLOB NOT NULL,\n  PRIMARY KEY (item_id, workspace_id),\n  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE ON UPDATE CASCADE\n) STRICT;','\n',char(10)));
INSERT INTO migrations VALUES('EditorDb',1,replace('ALTER TABLE\n  editors\nADD\n  COLUMN scroll_top_row INTEGER NOT NULL DEFAULT 0;\nALTER TABLE\n  editors\nADD\n  COLUMN scroll_horizontal_offset REAL NOT NULL DEFAULT 0;\nALTER TABLE\n  editors\nADD\n  COLUMN scroll_vertical_offset REAL NOT NULL DEFAULT 0;','\n',char(10)));
INSERT INTO migrations VALUES('EditorDb',2,replace('CREATE TABLE new_editors_tmp (\n  item_id INTEGER NOT NULL,\n  workspace_id INTEGER NOT NULL,\n  path BLOB,\n  scroll_top_row INTEGER NOT NULL DEFAULT 0,\n  scroll_horizontal_offset REAL NOT NULL DEFAULT 0,\n  scroll_vertical_offset REAL NOT NULL DEFAULT 0,\n  contents TEXT,\n  language TEXT,\n  PRIMARY KEY (item_id, workspace_id),\n  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE ON UPDATE CASCADE\n) STRICT;\nINSERT INTO\n  new_editors_tmp (\n    item_id,\n    workspace_id,\n    path,\n    scroll_top_row,\n    scroll_horizontal_offset,\n    scroll_vertical_offset\n  )\nSELECT\n  item_id,\n  workspace_id,\n  path,\n  scroll_top_row,\n  scroll_horizontal_offset,\n  scroll_vertical_offset\nFROM\n  editors;\nDROP TABLE editors;\nALTER TABLE\n  new_editors_tmp RENAME TO editors;','\n',char(10)));
INSERT INTO migrations VALUES('EditorDb',3,replace('ALTER TABLE\n  editors\nADD\n  COLUMN mtime_seconds INTEGER DEFAULT NULL;\nALTER TABLE\n  editors\nADD\n  COLUMN mtime_nanos INTEGER DEFAULT NULL;','\n',char(10)));
INSERT INTO migrations VALUES('EditorDb',4,replace('CREATE TABLE editor_selections (\n  item_id INTEGER NOT NULL,\n  editor_id INTEGER NOT NULL,\n  workspace_id INTEGER NOT NULL,\n  start INTEGER NOT NULL,\nend INTEGER NOT NULL,\nPRIMARY KEY (item_id),\nFOREIGN KEY (editor_id, workspace_id) REFERENCES editors (item_id, workspace_id) ON DELETE CASCADE\n) STRICT;','\n',char(10)));
INSERT INTO migrations VALUES('EditorDb',5,replace('ALTER TABLE\n  editors\nADD\n  COLUMN buffer_path TEXT;\nUPDATE\n  editors\nSET\n  buffer_path = CAST (path AS TEXT);','\n',char(10)));
INSERT INTO migrations VALUES('EditorDb',6,replace('CREATE TABLE editor_folds (\n  item_id INTEGER NOT NULL,\n  editor_id INTEGER NOT NULL,\n  workspace_id INTEGER NOT NULL,\n  start INTEGER NOT NULL,\nend INTEGER NOT NULL,\nPRIMARY KEY (item_id),\nFOREIGN KEY (editor_id, workspace_id) REFERENCES editors (item_id, workspace_id) ON DELETE CASCADE\n) STRICT;','\n',char(10)));
INSERT INTO migrations VALUES('EditorDb',7,replace('ALTER TABLE\n  editor_folds\nADD\n  COLUMN start_fingerprint TEXT;\nALTER TABLE\n  editor_folds\nADD\n  COLUMN end_fingerprint TEXT;','\n',char(10)));
INSERT INTO migrations VALUES('EditorDb',8,replace('CREATE TABLE file_folds (\n  workspace_id INTEGER NOT NULL,\n  path TEXT NOT NULL,\n  start INTEGER NOT NULL,\nend INTEGER NOT NULL,\nstart_fingerprint TEXT,\nend_fingerprint TEXT,\nFOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE ON UPDATE CASCADE,\nPRIMARY KEY (workspace_id, path, start)\n);','\n',char(10)));
INSERT INTO migrations VALUES('GitGraphsDb',0,replace('CREATE TABLE git_graphs (\n  workspace_id INTEGER,\n  item_id INTEGER UNIQUE,\n  is_open INTEGER DEFAULT FALSE,\n  PRIMARY KEY (workspace_id, item_id),\n  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE\n) STRICT;','\n',char(10)));
INSERT INTO migrations VALUES('GitGraphsDb',1,replace('ALTER TABLE\n  git_graphs\nADD\n  COLUMN repo_working_path TEXT;','\n',char(10)));
INSERT INTO migrations VALUES('GitGraphsDb',2,replace('ALTER TABLE\n  git_graphs\nADD\n  COLUMN log_source_type TEXT;\nALTER TABLE\n  git_graphs\nADD\n  COLUMN log_source_value TEXT;\nALTER TABLE\n  git_graphs\nADD\n  COLUMN log_order TEXT;\nALTER TABLE\n  git_graphs\nADD\n  COLUMN selected_sha TEXT;\nALTER TABLE\n  git_graphs\nADD\n  COLUMN search_query TEXT;\nALTER TABLE\n  git_graphs\nADD\n  COLUMN search_case_sensitive INTEGER;','\n',char(10)));
INSERT INTO migrations VALUES('ImageViewerDb',0,replace('CREATE TABLE image_viewers (\n  workspace_id INTEGER,\n  item_id INTEGER UNIQUE,\n  image_path BLOB,\n  PRIMARY KEY (workspace_id, item_id),\n  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE\n) STRICT;','\n',char(10)));
INSERT INTO migrations VALUES('KeyValueStore',0,'CREATE TABLE IF NOT EXISTS kv_store (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;');
INSERT INTO migrations VALUES('KeyValueStore',1,replace('CREATE TABLE IF NOT EXISTS scoped_kv_store (\n  namespace TEXT NOT NULL,\n  key TEXT NOT NULL,\n  value TEXT NOT NULL,\n  PRIMARY KEY (namespace, key)\n) STRICT;','\n',char(10)));
INSERT INTO migrations VALUES('KeybindingEditorDb',0,replace('CREATE TABLE keybinding_editors (\n  workspace_id INTEGER,\n  item_id INTEGER UNIQUE,\n  PRIMARY KEY (workspace_id, item_id),\n  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE\n) STRICT;','\n',char(10)));
INSERT INTO migrations VALUES('MarkdownPreviewDb',0,replace('CREATE TABLE markdown_previews (\n  workspace_id INTEGER,\n  item_id INTEGER,\n  abs_path BLOB,\n  mode INTEGER NOT NULL DEFAULT 0,\n  PRIMARY KEY (workspace_id, item_id),\n  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE\n) STRICT;','\n',char(10)));
INSERT INTO migrations VALUES('OnboardingPagesDb',0,replace('CREATE TABLE onboarding_pages (\n  workspace_id INTEGER,\n  item_id INTEGER UNIQUE,\n  page_number INTEGER,\n  PRIMARY KEY (workspace_id, item_id),\n  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE\n) STRICT;','\n',char(10)));
INSERT INTO migrations VALUES('OnboardingPagesDb',1,replace('CREATE TABLE onboarding_pages_2 (\n  workspace_id INTEGER,\n  item_id INTEGER UNIQUE,\n  PRIMARY KEY (workspace_id, item_id),\n  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE\n) STRICT;\nINSERT INTO\n  onboarding_pages_2\nSELECT\n  workspace_id,\n  item_id\nFROM\n  onboarding_pages;\nDROP TABLE onboarding_pages;\nALTER TABLE\n  onboarding_pages_2 RENAME TO onboarding_pages;','\n',char(10)));
INSERT INTO migrations VALUES('ProjectDiffDb',0,replace('CREATE TABLE project_diffs (\n  workspace_id INTEGER,\n  item_id INTEGER UNIQUE,\n  diff_base TEXT,\n  PRIMARY KEY (workspace_id, item_id),\n  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE\n) STRICT;','\n',char(10)));
INSERT INTO migrations VALUES('TerminalDb',0,replace('CREATE TABLE terminals (\n  workspace_id INTEGER,\n  item_id INTEGER UNIQUE,\n  working_directory BLOB,\n  PRIMARY KEY (workspace_id, item_id),\n  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE\n) STRICT;','\n',char(10)));
INSERT INTO migrations VALUES('TerminalDb',1,replace('CREATE TABLE terminals2 (\n  workspace_id INTEGER,\n  item_id INTEGER,\n  working_directory BLOB,\n  PRIMARY KEY (workspace_id, item_id),\n  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE\n) STRICT;\nINSERT INTO\n  terminals2 (workspace_id, item_id, working_directory)\nSELECT\n  workspace_id,\n  item_id,\n  working_directory\nFROM\n  terminals;\nDROP TABLE terminals;\nALTER TABLE\n  terminals2 RENAME TO terminals;','\n',char(10)));
INSERT INTO migrations VALUES('TerminalDb',2,replace('ALTER TABLE\n  terminals\nADD\n  COLUMN working_directory_path TEXT;\nUPDATE\n  terminals\nSET\n  working_directory_path = CAST (working_directory AS TEXT);','\n',char(10)));
INSERT INTO migrations VALUES('TerminalDb',3,replace('ALTER TABLE\n  terminals\nADD\n  COLUMN custom_title TEXT;','\n',char(10)));
INSERT INTO migrations VALUES('TerminalThreadMetadataDb',0,replace('CREATE TABLE IF NOT EXISTS sidebar_terminal_threads (\n  terminal_id TEXT PRIMARY KEY,\n  title TEXT NOT NULL,\n  custom_title TEXT,\n  created_at TEXT NOT NULL,\n  working_directory TEXT,\n  folder_paths TEXT,\n  folder_paths_order TEXT,\n  main_worktree_paths TEXT,\n  main_worktree_paths_order TEXT,\n  remote_connection TEXT\n) STRICT;','\n',char(10)));
INSERT INTO migrations VALUES('ThreadMetadataDb',0,replace('CREATE TABLE IF NOT EXISTS sidebar_threads (\n  session_id TEXT PRIMARY KEY,\n  agent_id TEXT,\n  title TEXT NOT NULL,\n  updated_at TEXT NOT NULL,\n  created_at TEXT,\n  folder_paths TEXT,\n  folder_paths_order TEXT\n) STRICT;','\n',char(10)));
INSERT INTO migrations VALUES('ThreadMetadataDb',1,replace('ALTER TABLE\n  sidebar_threads\nADD\n  COLUMN archived INTEGER DEFAULT 0','\n',char(10)));
INSERT INTO migrations VALUES('ThreadMetadataDb',2,replace('ALTER TABLE\n  sidebar_threads\nADD\n  COLUMN main_worktree_paths TEXT','\n',char(10)));
INSERT INTO migrations VALUES('ThreadMetadataDb',3,replace('ALTER TABLE\n  sidebar_threads\nADD\n  COLUMN main_worktree_paths_order TEXT','\n',char(10)));
INSERT INTO migrations VALUES('ThreadMetadataDb',4,replace('CREATE TABLE IF NOT EXISTS archived_git_worktrees (\n  id INTEGER PRIMARY KEY,\n  worktree_path TEXT NOT NULL,\n  main_repo_path TEXT NOT NULL,\n  branch_name TEXT,\n  staged_commit_hash TEXT,\n  unstaged_commit_hash TEXT,\n  original_commit_hash TEXT\n) STRICT;\nCREATE TABLE IF NOT EXISTS thread_archived_worktrees (\n  session_id TEXT NOT NULL,\n  archived_worktree_id INTEGER NOT NULL REFERENCES archived_git_worktrees (id),\n  PRIMARY KEY (session_id, archived_worktree_id)\n) STRICT;','\n',char(10)));
INSERT INTO migrations VALUES('ThreadMetadataDb',5,replace('ALTER TABLE\n  sidebar_threads\nADD\n  COLUMN remote_connection TEXT','\n',char(10)));
INSERT INTO migrations VALUES('ThreadMetadataDb',6,replace('ALTER TABLE\n  sidebar_threads\nADD\n  COLUMN thread_id BLOB','\n',char(10)));
INSERT INTO migrations VALUES('ThreadMetadataDb',7,replace('UPDATE\n  sidebar_threads\nSET\n  thread_id = randomblob (16)\nWHERE\n  thread_id IS NULL;\nCREATE TABLE thread_archived_worktrees_v2 (\n  thread_id BLOB NOT NULL,\n  archived_worktree_id INTEGER NOT NULL REFERENCES archived_git_worktrees (id),\n  PRIMARY KEY (thread_id, archived_worktree_id)\n) STRICT;\nINSERT INTO\n  thread_archived_worktrees_v2 (thread_id, archived_worktree_id)\nSELECT\n  s.thread_id,\n  t.archived_worktree_id\nFROM\n  thread_archived_worktrees t\n  JOIN sidebar_threads s ON s.session_id = t.session_id;\nDROP TABLE thread_archived_worktrees;\nALTER TABLE\n  thread_archived_worktrees_v2 RENAME TO thread_archived_worktrees;\nCREATE TABLE sidebar_threads_v2 (\n  thread_id BLOB PRIMARY KEY,\n  session_id TEXT,\n  agent_id TEXT,\n  title TEXT NOT NULL,\n  updated_at TEXT NOT NULL,\n  created_at TEXT,\n  folder_paths TEXT,\n  folder_paths_order TEXT,\n  archived INTEGER DEFAULT 0,\n  main_worktree_paths TEXT,\n  main_worktree_paths_order TEXT,\n  remote_connection TEXT\n) STRICT;\nINSERT INTO\n  sidebar_threads_v2 (\n    thread_id,\n    session_id,\n    agent_id,\n    title,\n    updated_at,\n    created_at,\n    folder_paths,\n    folder_paths_order,\n    archived,\n    main_worktree_paths,\n    main_worktree_paths_order,\n    remote_connection\n  )\nSELECT\n  thread_id,\n  session_id,\n  agent_id,\n  title,\n  updated_at,\n  created_at,\n  folder_paths,\n  folder_paths_order,\n  archived,\n  main_worktree_paths,\n  main_worktree_paths_order,\n  remote_connection\nFROM\n  sidebar_threads;\nDROP TABLE sidebar_threads;\nALTER TABLE\n  sidebar_threads_v2 RENAME TO sidebar_threads;','\n',char(10)));
INSERT INTO migrations VALUES('ThreadMetadataDb',8,replace('DELETE FROM\n  thread_archived_worktrees\nWHERE\n  thread_id IN (\n    SELECT\n      thread_id\n    FROM\n      sidebar_threads\n    WHERE\n      session_id IS NULL\n  );\nDELETE FROM\n  sidebar_threads\nWHERE\n  session_id IS NULL;\nDELETE FROM\n  archived_git_worktrees\nWHERE\n  id NOT IN (\n    SELECT\n      archived_worktree_id\n    FROM\n      thread_archived_worktrees\n  );','\n',char(10)));
INSERT INTO migrations VALUES('ThreadMetadataDb',9,replace('ALTER TABLE\n  sidebar_threads\nADD\n  COLUMN interacted_at TEXT;','\n',char(10)));
INSERT INTO migrations VALUES('ThreadMetadataDb',10,replace('ALTER TABLE\n  sidebar_threads\nADD\n  COLUMN title_override TEXT;','\n',char(10)));
INSERT INTO migrations VALUES('VimDb',0,replace('CREATE TABLE vim_marks (\n  workspace_id INTEGER,\n  mark_name TEXT,\n  path BLOB,\n  value TEXT\n);\nCREATE UNIQUE INDEX idx_vim_marks ON vim_marks (workspace_id, mark_name, path);','\n',char(10)));
INSERT INTO migrations VALUES('VimDb',1,replace('CREATE TABLE vim_global_marks_paths (\n  workspace_id INTEGER,\n  mark_name TEXT,\n  path BLOB\n);\nCREATE UNIQUE INDEX idx_vim_global_marks_paths ON vim_global_marks_paths (workspace_id, mark_name);','\n',char(10)));
INSERT INTO migrations VALUES('WelcomePagesDb',0,replace('CREATE TABLE welcome_pages (\n  workspace_id INTEGER,\n  item_id INTEGER UNIQUE,\n  is_open INTEGER DEFAULT FALSE,\n  PRIMARY KEY (workspace_id, item_id),\n  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE\n) STRICT;','\n',char(10)));
CREATE TABLE command_invocations (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  command_name TEXT NOT NULL,
  user_query TEXT NOT NULL,
  last_invoked INTEGER DEFAULT (unixepoch ()) NOT NULL
) STRICT;
INSERT INTO command_invocations VALUES(1,'workspace: save','save',1784740200);
CREATE TABLE pane_groups (
  group_id INTEGER PRIMARY KEY,
  workspace_id INTEGER NOT NULL,
  parent_group_id INTEGER,
  position INTEGER,
  axis TEXT NOT NULL, flexes TEXT,
  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE ON UPDATE CASCADE,
  FOREIGN KEY (parent_group_id) REFERENCES pane_groups (group_id) ON DELETE CASCADE
) STRICT;
INSERT INTO pane_groups VALUES(1,1,NULL,NULL,'Horizontal','[1.25,0.75]');
INSERT INTO pane_groups VALUES(2,1,1,1,'Vertical','[1.0,1.0]');
CREATE TABLE panes (
  pane_id INTEGER PRIMARY KEY,
  workspace_id INTEGER NOT NULL,
  active INTEGER NOT NULL, pinned_count INTEGER DEFAULT 0,
  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE ON UPDATE CASCADE
) STRICT;
INSERT INTO panes VALUES(1,1,1,1);
INSERT INTO panes VALUES(2,1,0,0);
INSERT INTO panes VALUES(3,1,0,0);
INSERT INTO panes VALUES(4,2,1,0);
INSERT INTO panes VALUES(5,3,1,0);
CREATE TABLE center_panes (
  pane_id INTEGER PRIMARY KEY,
  parent_group_id INTEGER,
  position INTEGER,
  FOREIGN KEY (pane_id) REFERENCES panes (pane_id) ON DELETE CASCADE,
  FOREIGN KEY (parent_group_id) REFERENCES pane_groups (group_id) ON DELETE CASCADE
) STRICT;
INSERT INTO center_panes VALUES(1,1,0);
INSERT INTO center_panes VALUES(2,2,0);
INSERT INTO center_panes VALUES(3,2,1);
INSERT INTO center_panes VALUES(4,NULL,NULL);
INSERT INTO center_panes VALUES(5,NULL,NULL);
CREATE TABLE items (
  item_id INTEGER NOT NULL,
  workspace_id INTEGER NOT NULL,
  pane_id INTEGER NOT NULL,
  kind TEXT NOT NULL,
  position INTEGER NOT NULL,
  active INTEGER NOT NULL, preview INTEGER,
  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE ON UPDATE CASCADE,
  FOREIGN KEY (pane_id) REFERENCES panes (pane_id) ON DELETE CASCADE,
  PRIMARY KEY (item_id, workspace_id)
) STRICT;
INSERT INTO items VALUES(4294967797,1,1,'Editor',0,0,0);
INSERT INTO items VALUES(4294967798,1,1,'Editor',1,1,0);
INSERT INTO items VALUES(4294967799,1,2,'Editor',0,1,0);
INSERT INTO items VALUES(4294967800,1,3,'Terminal',0,1,0);
INSERT INTO items VALUES(4294967801,1,3,'MarkdownPreviewView',1,0,0);
INSERT INTO items VALUES(4294967802,1,2,'ImageView',1,0,0);
INSERT INTO items VALUES(4294967897,2,4,'Editor',0,1,0);
INSERT INTO items VALUES(4294967997,3,5,'Editor',0,1,0);
INSERT INTO items VALUES(4294967803,1,3,'ProjectDiff',2,0,0);
CREATE TABLE dev_server_projects (
  id INTEGER NOT NULL UNIQUE,
  path TEXT,
  dev_server_name TEXT
);
CREATE TABLE breakpoints (
  workspace_id INTEGER NOT NULL,
  path TEXT NOT NULL,
  breakpoint_location INTEGER NOT NULL,
  log_message TEXT, state INTEGER DEFAULT (0) NOT NULL, condition TEXT, hit_condition TEXT,
  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE ON UPDATE CASCADE
);
INSERT INTO breakpoints VALUES(1,X'2f686f6d652f726574726f2f776f726b2f6d796170702f636d642f6d61696e2e676f',41,NULL,0,NULL,NULL);
INSERT INTO breakpoints VALUES(1,X'2f686f6d652f726574726f2f776f726b2f6d796170702f696e7465726e616c2f7365727665722e676f',7,'addr={addr}',1,'err != nil',NULL);
CREATE TABLE remote_connections (
  id INTEGER PRIMARY KEY,
  kind TEXT NOT NULL,
  host TEXT,
  port INTEGER,
  user TEXT,
  distro TEXT
, name TEXT, container_id TEXT, use_podman BOOLEAN, remote_env TEXT);
CREATE TABLE IF NOT EXISTS "workspaces" (
  workspace_id INTEGER PRIMARY KEY,
  paths TEXT,
  paths_order TEXT,
  remote_connection_id INTEGER REFERENCES remote_connections (id),
  timestamp TEXT DEFAULT CURRENT_TIMESTAMP NOT NULL,
  window_state TEXT,
  window_x REAL,
  window_y REAL,
  window_width REAL,
  window_height REAL,
  display BLOB,
  left_dock_visible INTEGER,
  left_dock_active_panel TEXT,
  right_dock_visible INTEGER,
  right_dock_active_panel TEXT,
  bottom_dock_visible INTEGER,
  bottom_dock_active_panel TEXT,
  left_dock_zoom INTEGER,
  right_dock_zoom INTEGER,
  bottom_dock_zoom INTEGER,
  fullscreen INTEGER,
  centered_layout INTEGER,
  session_id TEXT,
  window_id INTEGER
, identity_paths TEXT, identity_paths_order TEXT) STRICT;
INSERT INTO workspaces VALUES(1,replace('/home/retro/work/design-docs\n/home/retro/work/myapp','\n',char(10)),'1,0',NULL,'2026-07-22 17:11:26','Windowed',0.0,0.0,1920.0,1056.0,X'2a7561afca515fd287f5b2adb357cf87',1,'ProjectPanel',1,'AgentPanel',1,'TerminalPanel',0,0,0,NULL,NULL,'6f2b6a2e-3c1f-4b53-9a3d-0d7a2f6f9a11',4294967297,replace('/home/retro/work/design-docs\n/home/retro/work/myapp','\n',char(10)),'1,0');
INSERT INTO workspaces VALUES(2,'/home/retro/work/infra','0',NULL,'2026-07-22 17:09:02','Windowed',0.0,0.0,1920.0,1056.0,X'2a7561afca515fd287f5b2adb357cf87',1,'ProjectPanel',0,NULL,0,NULL,0,0,0,NULL,NULL,'6f2b6a2e-3c1f-4b53-9a3d-0d7a2f6f9a11',4294967298,'/home/retro/work/infra','0');
INSERT INTO workspaces VALUES(3,'','',NULL,'2026-07-22 17:01:40','Windowed',0.0,0.0,1920.0,1056.0,X'2a7561afca515fd287f5b2adb357cf87',0,NULL,0,NULL,0,NULL,0,0,0,NULL,NULL,'6f2b6a2e-3c1f-4b53-9a3d-0d7a2f6f9a11',4294967298,'','');
INSERT INTO workspaces VALUES(4,'/home/retro/work/oldproj','0',NULL,'2026-06-01 09:00:00','Windowed',0.0,0.0,1920.0,1056.0,X'2a7561afca515fd287f5b2adb357cf87',1,'ProjectPanel',0,NULL,0,NULL,0,0,0,NULL,NULL,'0b8d0a77-1111-4222-8333-444455556666',4294967297,'/home/retro/work/oldproj','0');
CREATE TABLE trusted_worktrees (
  trust_id INTEGER PRIMARY KEY AUTOINCREMENT,
  absolute_path TEXT,
  user_name TEXT,
  host_name TEXT
) STRICT;
INSERT INTO trusted_worktrees VALUES(1,'/home/retro/work/myapp',NULL,NULL);
INSERT INTO trusted_worktrees VALUES(2,'/home/retro/work/design-docs',NULL,NULL);
CREATE TABLE IF NOT EXISTS "toolchains" (
  workspace_id INTEGER,
  worktree_root_path TEXT NOT NULL,
  language_name TEXT NOT NULL,
  name TEXT NOT NULL,
  path TEXT NOT NULL,
  raw_json TEXT NOT NULL,
  relative_worktree_path TEXT NOT NULL,
  PRIMARY KEY (
    workspace_id,
    worktree_root_path,
    language_name,
    relative_worktree_path
  )
) STRICT;
INSERT INTO toolchains VALUES(1,'/home/retro/work/myapp','Python','Python 3.11.2 (venv)','/home/retro/work/myapp/.venv/bin/python','{"kind": "Venv", "executable": "/home/retro/work/myapp/.venv/bin/python", "prefix": "/home/retro/work/myapp/.venv"}','');
CREATE TABLE IF NOT EXISTS "user_toolchains" (
  remote_connection_id INTEGER,
  workspace_id INTEGER NOT NULL,
  worktree_root_path TEXT NOT NULL,
  relative_worktree_path TEXT NOT NULL,
  language_name TEXT NOT NULL,
  name TEXT NOT NULL,
  path TEXT NOT NULL,
  raw_json TEXT NOT NULL,
  PRIMARY KEY (
    workspace_id,
    worktree_root_path,
    relative_worktree_path,
    language_name,
    name,
    path,
    raw_json
  )
) STRICT;
CREATE TABLE bookmarks (
  workspace_id INTEGER NOT NULL,
  path TEXT NOT NULL,
  row INTEGER NOT NULL,
  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE ON UPDATE CASCADE
);
INSERT INTO bookmarks VALUES(1,X'2f686f6d652f726574726f2f776f726b2f6d796170702f636d642f6d61696e2e676f',12);
CREATE TABLE component_previews (
  workspace_id INTEGER,
  item_id INTEGER UNIQUE,
  active_page_id TEXT,
  PRIMARY KEY (workspace_id, item_id),
  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE
) STRICT;
CREATE TABLE IF NOT EXISTS "editors" (
  item_id INTEGER NOT NULL,
  workspace_id INTEGER NOT NULL,
  path BLOB,
  scroll_top_row INTEGER NOT NULL DEFAULT 0,
  scroll_horizontal_offset REAL NOT NULL DEFAULT 0,
  scroll_vertical_offset REAL NOT NULL DEFAULT 0,
  contents TEXT,
  language TEXT, mtime_seconds INTEGER DEFAULT NULL, mtime_nanos INTEGER DEFAULT NULL, buffer_path TEXT,
  PRIMARY KEY (item_id, workspace_id),
  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE ON UPDATE CASCADE
) STRICT;
INSERT INTO editors VALUES(4294967797,1,X'2f686f6d652f726574726f2f776f726b2f6d796170702f636d642f6d61696e2e676f',40,0.0,0.5,NULL,NULL,1784740000,123456789,'/home/retro/work/myapp/cmd/main.go');
INSERT INTO editors VALUES(4294967798,1,X'2f686f6d652f726574726f2f776f726b2f6d796170702f696e7465726e616c2f7365727665722e676f',2,0.0,0.0,replace('package server\n\n// unsaved edit é — never written to disk\nfunc Serve() error { return nil }\n','\n',char(10)),'Go',1784740100,987654321,'/home/retro/work/myapp/internal/server.go');
INSERT INTO editors VALUES(4294967799,1,NULL,0,0.0,0.0,replace('scratch notes: TODO wire checkpoint agent\n','\n',char(10)),'Markdown',NULL,NULL,NULL);
INSERT INTO editors VALUES(4294967897,2,X'2f686f6d652f726574726f2f776f726b2f696e6672612f6d61696e2e7466',0,0.0,0.0,NULL,NULL,1784730000,0,'/home/retro/work/infra/main.tf');
INSERT INTO editors VALUES(4294967997,3,NULL,0,0.0,0.0,replace('an untitled buffer in a window with no folder\n','\n',char(10)),NULL,NULL,NULL,NULL);
CREATE TABLE editor_selections (
  item_id INTEGER NOT NULL,
  editor_id INTEGER NOT NULL,
  workspace_id INTEGER NOT NULL,
  start INTEGER NOT NULL,
end INTEGER NOT NULL,
PRIMARY KEY (item_id),
FOREIGN KEY (editor_id, workspace_id) REFERENCES editors (item_id, workspace_id) ON DELETE CASCADE
) STRICT;
INSERT INTO editor_selections VALUES(1,4294967797,1,1204,1204);
INSERT INTO editor_selections VALUES(2,4294967798,1,16,40);
INSERT INTO editor_selections VALUES(3,4294967798,1,60,60);
INSERT INTO editor_selections VALUES(4,4294967897,2,0,0);
CREATE TABLE editor_folds (
  item_id INTEGER NOT NULL,
  editor_id INTEGER NOT NULL,
  workspace_id INTEGER NOT NULL,
  start INTEGER NOT NULL,
end INTEGER NOT NULL, start_fingerprint TEXT, end_fingerprint TEXT,
PRIMARY KEY (item_id),
FOREIGN KEY (editor_id, workspace_id) REFERENCES editors (item_id, workspace_id) ON DELETE CASCADE
) STRICT;
CREATE TABLE file_folds (
  workspace_id INTEGER NOT NULL,
  path TEXT NOT NULL,
  start INTEGER NOT NULL,
end INTEGER NOT NULL,
start_fingerprint TEXT,
end_fingerprint TEXT,
FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE ON UPDATE CASCADE,
PRIMARY KEY (workspace_id, path, start)
);
INSERT INTO file_folds VALUES(1,X'2f686f6d652f726574726f2f776f726b2f6d796170702f636d642f6d61696e2e676f',300,512,replace('{\n	flag.Parse()\n	log.SetFlags(0)','\n',char(10)),replace('	os.Exit(run(ctx, os.Args))\n}','\n',char(10)));
CREATE TABLE git_graphs (
  workspace_id INTEGER,
  item_id INTEGER UNIQUE,
  is_open INTEGER DEFAULT FALSE, repo_working_path TEXT, log_source_type TEXT, log_source_value TEXT, log_order TEXT, selected_sha TEXT, search_query TEXT, search_case_sensitive INTEGER,
  PRIMARY KEY (workspace_id, item_id),
  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE
) STRICT;
CREATE TABLE image_viewers (
  workspace_id INTEGER,
  item_id INTEGER UNIQUE,
  image_path BLOB,
  PRIMARY KEY (workspace_id, item_id),
  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE
) STRICT;
INSERT INTO image_viewers VALUES(1,4294967802,X'2f686f6d652f726574726f2f776f726b2f64657369676e2d646f63732f617263682e706e67');
CREATE TABLE kv_store (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
INSERT INTO kv_store VALUES('session_id','6f2b6a2e-3c1f-4b53-9a3d-0d7a2f6f9a11');
INSERT INTO kv_store VALUES('session_window_stack','[4294967297, 4294967298]');
INSERT INTO kv_store VALUES('installation_id','2d0b31f8-5e65-4f0c-9d41-4d7a5d9f6b1c');
INSERT INTO kv_store VALUES('first_open','false');
INSERT INTO kv_store VALUES('default_window_bounds','["2a7561af-ca51-5fd2-87f5-b2adb357cf87", {"Windowed": {"x": 0, "y": 0, "width": 1920, "height": 1056}}]');
INSERT INTO kv_store VALUES('default_dock_state','{"left": {"visible": true, "active_panel": "ProjectPanel", "zoom": false}, "right": {"visible": false, "active_panel": null, "zoom": false}, "bottom": {"visible": false, "active_panel": null, "zoom": false}}');
INSERT INTO kv_store VALUES('"TerminalPanel"-"1"','{"items": {"Group": {"axis": "horizontal", "flexes": [1.0, 1.0], "children": [{"Pane": {"active": true, "children": [4294967806], "active_item": 4294967806, "pinned_count": 0}}, {"Pane": {"active": false, "children": [4294967807], "active_item": 4294967807, "pinned_count": 0}}]}}, "active_item_id": null}');
INSERT INTO kv_store VALUES('GitPanel-"1"','{"amend_pending": false, "signoff_enabled": false}');
INSERT INTO kv_store VALUES('OutlinePanel-"1"','{"active": null}');
INSERT INTO kv_store VALUES('CollaborationPanel-"1"','{"collapsed_channels": null}');
INSERT INTO kv_store VALUES('agent_panel__last_used_external_agent','{"agent": {"custom": {"name": "claude-acp"}}}');
INSERT INTO kv_store VALUES('agent_panel__last_created_entry_kind','{"entry_kind": "Thread"}');
INSERT INTO kv_store VALUES('thread-metadata-remote-connection-backfill','1');
INSERT INTO kv_store VALUES('thread-metadata-thread-id-backfill','1');
INSERT INTO kv_store VALUES('dismissed-trial-upsell','1');
INSERT INTO kv_store VALUES('debugger_panel_-Delve','{"panes": {"Pane": {"children": ["Frames"], "active_item": "Frames"}}, "dock_axis": "Horizontal"}');
CREATE TABLE scoped_kv_store (
  namespace TEXT NOT NULL,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (namespace, key)
) STRICT;
INSERT INTO scoped_kv_store VALUES('multi_workspace_state','4294967297','{"active_workspace_id": 1, "sidebar_open": true, "project_groups": [{"path_list": {"paths": "/home/retro/work/design-docs\n/home/retro/work/myapp", "order": "1,0"}, "location": "Local", "expanded": true}], "sidebar_state": "{\"width\": 260.0, \"active_view\": \"ThreadList\"}"}');
INSERT INTO scoped_kv_store VALUES('multi_workspace_state','4294967298','{"active_workspace_id": 2, "sidebar_open": false, "project_groups": [{"path_list": {"paths": "/home/retro/work/infra", "order": "0"}, "location": "Local", "expanded": true}], "sidebar_state": "{\"width\": 260.0, \"active_view\": \"ThreadList\"}"}');
INSERT INTO scoped_kv_store VALUES('agent_panel','1','{"selected_agent": {"custom": {"name": "claude-acp"}}, "last_created_entry_kind": "Thread", "last_active_thread": {"session_id": "e6ef9c10-84bf-4aea-a6d2-2478ff08ffee", "thread_id": "b1f0a5c2-8c1e-4f0e-9b5a-1f5a7b8c9d02", "agent_type": {"custom": {"name": "claude-acp"}}, "title": "Review session restore", "work_dirs": {"paths": "/home/retro/work", "order": "0"}}, "last_active_terminal_id": null, "new_draft_thread_id": "b1f0a5c2-8c1e-4f0e-9b5a-1f5a7b8c9d03"}');
INSERT INTO scoped_kv_store VALUES('dock_panel_size','1:TerminalPanel','{"size": 280.0, "flex": null}');
INSERT INTO scoped_kv_store VALUES('dock_panel_size','1:AgentPanel','{"size": 640.0, "flex": null}');
INSERT INTO scoped_kv_store VALUES('agent_draft_prompts','b1f0a5c2-8c1e-4f0e-9b5a-1f5a7b8c9d03','[{"type": "text", "text": "unsent prompt: please explain WAL"}]');
INSERT INTO scoped_kv_store VALUES('created_git_worktrees',replace('local\n/home/retro/work/worktrees/myapp/feat-x','\n',char(10)),'{"created_at_seconds": 1784739000, "created_at_subsec_nanos": 5}');
CREATE TABLE keybinding_editors (
  workspace_id INTEGER,
  item_id INTEGER UNIQUE,
  PRIMARY KEY (workspace_id, item_id),
  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE
) STRICT;
CREATE TABLE markdown_previews (
  workspace_id INTEGER,
  item_id INTEGER,
  abs_path BLOB,
  mode INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (workspace_id, item_id),
  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE
) STRICT;
INSERT INTO markdown_previews VALUES(1,4294967801,X'2f686f6d652f726574726f2f776f726b2f64657369676e2d646f63732f524541444d452e6d64',0);
CREATE TABLE IF NOT EXISTS "onboarding_pages" (
  workspace_id INTEGER,
  item_id INTEGER UNIQUE,
  PRIMARY KEY (workspace_id, item_id),
  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE
) STRICT;
CREATE TABLE project_diffs (
  workspace_id INTEGER,
  item_id INTEGER UNIQUE,
  diff_base TEXT,
  PRIMARY KEY (workspace_id, item_id),
  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE
) STRICT;
INSERT INTO project_diffs VALUES(1,4294967803,'"Head"');
CREATE TABLE IF NOT EXISTS "terminals" (
  workspace_id INTEGER,
  item_id INTEGER,
  working_directory BLOB, working_directory_path TEXT, custom_title TEXT,
  PRIMARY KEY (workspace_id, item_id),
  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE
) STRICT;
INSERT INTO terminals VALUES(1,4294967800,X'2f686f6d652f726574726f2f776f726b2f6d79617070','/home/retro/work/myapp',NULL);
INSERT INTO terminals VALUES(1,4294967806,X'2f686f6d652f726574726f2f776f726b2f6d79617070','/home/retro/work/myapp','server');
INSERT INTO terminals VALUES(1,4294967807,X'2f686f6d652f726574726f2f776f726b2f64657369676e2d646f6373','/home/retro/work/design-docs',NULL);
CREATE TABLE sidebar_terminal_threads (
  terminal_id TEXT PRIMARY KEY,
  title TEXT NOT NULL,
  custom_title TEXT,
  created_at TEXT NOT NULL,
  working_directory TEXT,
  folder_paths TEXT,
  folder_paths_order TEXT,
  main_worktree_paths TEXT,
  main_worktree_paths_order TEXT,
  remote_connection TEXT
) STRICT;
INSERT INTO sidebar_terminal_threads VALUES('5a0c9df1-2f4e-4a55-8f2a-0a4c2f4d7e21','claude',NULL,'2026-07-22T17:00:00+00:00','/home/retro/work/myapp',replace('/home/retro/work/design-docs\n/home/retro/work/myapp','\n',char(10)),'1,0',replace('/home/retro/work/design-docs\n/home/retro/work/myapp','\n',char(10)),'1,0',NULL);
CREATE TABLE archived_git_worktrees (
  id INTEGER PRIMARY KEY,
  worktree_path TEXT NOT NULL,
  main_repo_path TEXT NOT NULL,
  branch_name TEXT,
  staged_commit_hash TEXT,
  unstaged_commit_hash TEXT,
  original_commit_hash TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS "thread_archived_worktrees" (
  thread_id BLOB NOT NULL,
  archived_worktree_id INTEGER NOT NULL REFERENCES archived_git_worktrees (id),
  PRIMARY KEY (thread_id, archived_worktree_id)
) STRICT;
CREATE TABLE IF NOT EXISTS "sidebar_threads" (
  thread_id BLOB PRIMARY KEY,
  session_id TEXT,
  agent_id TEXT,
  title TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  created_at TEXT,
  folder_paths TEXT,
  folder_paths_order TEXT,
  archived INTEGER DEFAULT 0,
  main_worktree_paths TEXT,
  main_worktree_paths_order TEXT,
  remote_connection TEXT
, interacted_at TEXT, title_override TEXT) STRICT;
INSERT INTO sidebar_threads VALUES(X'b1f0a5c28c1e4f0e9b5a1f5a7b8c9d01','0c5d1a52-0b53-4df0-8b2a-3f0f8f3b7a10',NULL,'Add checkpoint endpoint','2026-07-22T17:10:59.123456789+00:00','2026-07-22T16:58:00+00:00',replace('/home/retro/work/design-docs\n/home/retro/work/myapp','\n',char(10)),'1,0',0,replace('/home/retro/work/design-docs\n/home/retro/work/myapp','\n',char(10)),'1,0',NULL,'2026-07-22T17:10:59+00:00',NULL);
INSERT INTO sidebar_threads VALUES(X'b1f0a5c28c1e4f0e9b5a1f5a7b8c9d02','e6ef9c10-84bf-4aea-a6d2-2478ff08ffee','claude-acp','Review session restore','2026-07-22T17:10:59.123456789+00:00','2026-07-22T16:58:00+00:00',replace('/home/retro/work/design-docs\n/home/retro/work/myapp','\n',char(10)),'1,0',0,replace('/home/retro/work/design-docs\n/home/retro/work/myapp','\n',char(10)),'1,0',NULL,'2026-07-22T17:10:59+00:00',NULL);
INSERT INTO sidebar_threads VALUES(X'b1f0a5c28c1e4f0e9b5a1f5a7b8c9d03',NULL,NULL,'','2026-07-22T17:10:59.123456789+00:00','2026-07-22T16:58:00+00:00',replace('/home/retro/work/design-docs\n/home/retro/work/myapp','\n',char(10)),'1,0',0,replace('/home/retro/work/design-docs\n/home/retro/work/myapp','\n',char(10)),'1,0',NULL,'2026-07-22T17:10:59+00:00',NULL);
CREATE TABLE vim_marks (
  workspace_id INTEGER,
  mark_name TEXT,
  path BLOB,
  value TEXT
);
INSERT INTO vim_marks VALUES(1,'a',X'2f686f6d652f726574726f2f776f726b2f6d796170702f636d642f6d61696e2e676f','[[41,0]]');
CREATE TABLE vim_global_marks_paths (
  workspace_id INTEGER,
  mark_name TEXT,
  path BLOB
);
INSERT INTO vim_global_marks_paths VALUES(1,'A',X'2f686f6d652f726574726f2f776f726b2f6d796170702f636d642f6d61696e2e676f');
CREATE TABLE welcome_pages (
  workspace_id INTEGER,
  item_id INTEGER UNIQUE,
  is_open INTEGER DEFAULT FALSE,
  PRIMARY KEY (workspace_id, item_id),
  FOREIGN KEY (workspace_id) REFERENCES workspaces (workspace_id) ON DELETE CASCADE
) STRICT;
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('trusted_worktrees',2);
INSERT INTO sqlite_sequence VALUES('command_invocations',1);
CREATE UNIQUE INDEX ix_workspaces_location ON workspaces (remote_connection_id, paths);
CREATE UNIQUE INDEX idx_vim_marks ON vim_marks (workspace_id, mark_name, path);
CREATE UNIQUE INDEX idx_vim_global_marks_paths ON vim_global_marks_paths (workspace_id, mark_name);
COMMIT;
