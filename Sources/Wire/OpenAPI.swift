/// The description of the HTTP API, served at `/v1/openapi.json`. The messages are those of
/// client.proto; a test holds both to each other.
///
/// **Source**: OpenAPI Specification 3.1.0.
package enum OpenAPI {
  /// The whole document, as JSON.
  package static let document = "{\n\(about),\n\(paths),\n\(components)\n}\n"

  private static let about = #"""
      "openapi": "3.1.0",
      "info": {
        "title": "Martlet",
        "version": "1.0.0",
        "description": "Chat over HTTP. A WebSocket carries the same operations in the frames \#
    of martlet/v1/client.proto. Fields that a side does not know are ignored. Every operation \#
    checks that its caller is a member."
      },
      "servers": [{"url": "/"}],
      "security": [{"bearer": []}]
    """#

  private static let paths = #"""
      "paths": {
        "/web/config.json": {
          "get": {
            "operationId": "webConfiguration",
            "tags": ["web"],
            "summary": "Where web pages may go on when their gateway is gone",
            "security": [],
            "responses": {
              "200": {
                "description": "Gateways by their origins.",
                "content": {
                  "application/json": {
                    "schema": {"$ref": "#/components/schemas/WebConfiguration"}
                  }
                }
              },
              "default": {"$ref": "#/components/responses/Error"}
            }
          }
        },
        "/v1/accounts": {
          "post": {
            "operationId": "createAccount",
            "tags": ["accounts"],
            "summary": "Make an account",
            "security": [],
            "requestBody": {
              "required": true,
              "content": {
                "application/json": {
                  "schema": {"$ref": "#/components/schemas/CreateAccountRequest"}
                }
              }
            },
            "responses": {
              "201": {
                "description": "The account is active.",
                "content": {
                  "application/json": {"schema": {"$ref": "#/components/schemas/Account"}}
                }
              },
              "400": {"$ref": "#/components/responses/Error"},
              "409": {"$ref": "#/components/responses/Error"},
              "413": {"$ref": "#/components/responses/Error"},
              "429": {"$ref": "#/components/responses/Error"},
              "503": {"$ref": "#/components/responses/Error"},
              "504": {"$ref": "#/components/responses/Error"},
              "default": {"$ref": "#/components/responses/Error"}
            }
          }
        },
        "/v1/sessions": {
          "post": {
            "operationId": "login",
            "tags": ["sessions"],
            "summary": "Log a device in",
            "security": [],
            "requestBody": {
              "required": true,
              "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/LoginRequest"}}
              }
            },
            "responses": {
              "201": {
                "description": "The device is logged in.",
                "content": {
                  "application/json": {"schema": {"$ref": "#/components/schemas/Session"}}
                }
              },
              "400": {"$ref": "#/components/responses/Error"},
              "401": {"$ref": "#/components/responses/Error"},
              "403": {"$ref": "#/components/responses/Error"},
              "413": {"$ref": "#/components/responses/Error"},
              "429": {"$ref": "#/components/responses/Error"},
              "503": {"$ref": "#/components/responses/Error"},
              "504": {"$ref": "#/components/responses/Error"},
              "default": {"$ref": "#/components/responses/Error"}
            }
          }
        },
        "/v1/sessions/refresh": {
          "post": {
            "operationId": "refresh",
            "tags": ["sessions"],
            "summary": "Exchange a refresh token for new ones; repeated, it gives the same again",
            "security": [],
            "requestBody": {
              "required": true,
              "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/RefreshRequest"}}
              }
            },
            "responses": {
              "200": {
                "description": "The tokens to use from now on.",
                "content": {
                  "application/json": {"schema": {"$ref": "#/components/schemas/Session"}}
                }
              },
              "400": {"$ref": "#/components/responses/Error"},
              "401": {"$ref": "#/components/responses/Error"},
              "403": {"$ref": "#/components/responses/Error"},
              "413": {"$ref": "#/components/responses/Error"},
              "429": {"$ref": "#/components/responses/Error"},
              "503": {"$ref": "#/components/responses/Error"},
              "504": {"$ref": "#/components/responses/Error"},
              "default": {"$ref": "#/components/responses/Error"}
            }
          }
        },
        "/v1/sessions/current": {
          "delete": {
            "operationId": "logout",
            "tags": ["sessions"],
            "summary": "Log this device out",
            "responses": {
              "204": {"description": "The device is logged out."},
              "401": {"$ref": "#/components/responses/Error"},
              "429": {"$ref": "#/components/responses/Error"},
              "503": {"$ref": "#/components/responses/Error"},
              "504": {"$ref": "#/components/responses/Error"},
              "default": {"$ref": "#/components/responses/Error"}
            }
          }
        },
        "/v1/conversations": {
          "get": {
            "operationId": "listConversations",
            "tags": ["conversations"],
            "summary": "A page of one's conversations, in the order of their ids",
            "parameters": [
              {
                "name": "after",
                "in": "query",
                "description": "The `next` of the page before.",
                "schema": {"$ref": "#/components/schemas/ConversationID"}
              },
              {"$ref": "#/components/parameters/Limit"}
            ],
            "responses": {
              "200": {
                "description": "The page.",
                "content": {
                  "application/json": {"schema": {"$ref": \#
    "#/components/schemas/ConversationPage"}}
                }
              },
              "400": {"$ref": "#/components/responses/Error"},
              "401": {"$ref": "#/components/responses/Error"},
              "429": {"$ref": "#/components/responses/Error"},
              "503": {"$ref": "#/components/responses/Error"},
              "504": {"$ref": "#/components/responses/Error"},
              "default": {"$ref": "#/components/responses/Error"}
            }
          },
          "post": {
            "operationId": "createConversation",
            "tags": ["conversations"],
            "summary": "Make a conversation, or find the direct one that exists",
            "requestBody": {
              "required": true,
              "content": {
                "application/json": {
                  "schema": {"$ref": "#/components/schemas/CreateConversationRequest"}
                }
              }
            },
            "responses": {
              "201": {
                "description": "It was made.",
                "content": {
                  "application/json": {"schema": {"$ref": "#/components/schemas/Conversation"}}
                }
              },
              "200": {
                "description": "It was there before.",
                "content": {
                  "application/json": {"schema": {"$ref": "#/components/schemas/Conversation"}}
                }
              },
              "400": {"$ref": "#/components/responses/Error"},
              "401": {"$ref": "#/components/responses/Error"},
              "404": {"$ref": "#/components/responses/Error"},
              "413": {"$ref": "#/components/responses/Error"},
              "429": {"$ref": "#/components/responses/Error"},
              "503": {"$ref": "#/components/responses/Error"},
              "504": {"$ref": "#/components/responses/Error"},
              "default": {"$ref": "#/components/responses/Error"}
            }
          }
        },
        "/v1/conversations/{conversation}/members": {
          "post": {
            "operationId": "changeMembers",
            "tags": ["conversations"],
            "summary": "Add and remove members of a group; to leave is to remove oneself",
            "parameters": [{"$ref": "#/components/parameters/Conversation"}],
            "requestBody": {
              "required": true,
              "content": {
                "application/json": {
                  "schema": {"$ref": "#/components/schemas/ChangeMembersRequest"}
                }
              }
            },
            "responses": {
              "200": {
                "description": "The members are changed.",
                "content": {
                  "application/json": {"schema": {"$ref": "#/components/schemas/MembersChanged"}}
                }
              },
              "400": {"$ref": "#/components/responses/Error"},
              "401": {"$ref": "#/components/responses/Error"},
              "403": {"$ref": "#/components/responses/Error"},
              "404": {"$ref": "#/components/responses/Error"},
              "413": {"$ref": "#/components/responses/Error"},
              "429": {"$ref": "#/components/responses/Error"},
              "503": {"$ref": "#/components/responses/Error"},
              "504": {"$ref": "#/components/responses/Error"},
              "default": {"$ref": "#/components/responses/Error"}
            }
          }
        },
        "/v1/conversations/{conversation}/messages": {
          "get": {
            "operationId": "readHistory",
            "tags": ["messages"],
            "summary": "A page of a conversation's events; the last ones when neither `after` \#
    nor `before` is given",
            "parameters": [
              {"$ref": "#/components/parameters/Conversation"},
              {
                "name": "after",
                "in": "query",
                "description": "Sequence numbers above this one.",
                "schema": {"$ref": "#/components/schemas/UInt64"}
              },
              {
                "name": "before",
                "in": "query",
                "description": "The last ones below this one. Not together with `after`.",
                "schema": {"$ref": "#/components/schemas/UInt64"}
              },
              {"$ref": "#/components/parameters/Limit"}
            ],
            "responses": {
              "200": {
                "description": "The page.",
                "content": {
                  "application/json": {"schema": {"$ref": "#/components/schemas/History"}}
                }
              },
              "400": {"$ref": "#/components/responses/Error"},
              "401": {"$ref": "#/components/responses/Error"},
              "403": {"$ref": "#/components/responses/Error"},
              "404": {"$ref": "#/components/responses/Error"},
              "429": {"$ref": "#/components/responses/Error"},
              "503": {"$ref": "#/components/responses/Error"},
              "504": {"$ref": "#/components/responses/Error"},
              "default": {"$ref": "#/components/responses/Error"}
            }
          },
          "post": {
            "operationId": "sendMessage",
            "tags": ["messages"],
            "summary": "Send a message, once per device and `id`",
            "parameters": [{"$ref": "#/components/parameters/Conversation"}],
            "requestBody": {
              "required": true,
              "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/SendRequest"}}
              }
            },
            "responses": {
              "201": {
                "description": "The message is stored for good.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Sent"}}}
              },
              "200": {
                "description": "It was sent before; the answer of then.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Sent"}}}
              },
              "400": {"$ref": "#/components/responses/Error"},
              "401": {"$ref": "#/components/responses/Error"},
              "403": {"$ref": "#/components/responses/Error"},
              "404": {"$ref": "#/components/responses/Error"},
              "413": {"$ref": "#/components/responses/Error"},
              "429": {"$ref": "#/components/responses/Error"},
              "503": {"$ref": "#/components/responses/Error"},
              "504": {"$ref": "#/components/responses/Error"},
              "default": {"$ref": "#/components/responses/Error"}
            }
          }
        },
        "/v1/events": {
          "get": {
            "operationId": "events",
            "tags": ["events"],
            "summary": "What happens in one's conversations, as server-sent events",
            "parameters": [
              {
                "name": "Last-Event-ID",
                "in": "header",
                "description": "The last `id` that was received; without it the stream starts \#
    now.",
                "schema": {"type": "string", "maxLength": 16384}
              },
              {
                "name": "cursor",
                "in": "query",
                "description": "The same for a first request, which cannot have the header in a \#
    browser. The header comes first.",
                "schema": {"type": "string", "maxLength": 16384}
              }
            ],
            "responses": {
              "200": {
                "description": "`event: message` carries an Event as `data`; `behind`, `gap` \#
    (with the conversation) and `draining` tell of the stream itself. `id` is the cursor to \#
    resume from and comes in a block of its own, after the events that it covers: a stream that \#
    breaks before it repeats them, so drop what has a `seq` that was seen.",
                "content": {"text/event-stream": {"schema": {"type": "string"}}}
              },
              "400": {"$ref": "#/components/responses/Error"},
              "401": {"$ref": "#/components/responses/Error"},
              "503": {"$ref": "#/components/responses/Error"},
              "default": {"$ref": "#/components/responses/Error"}
            }
          }
        },
        "/v1/ws": {
          "get": {
            "operationId": "webSocket",
            "tags": ["events"],
            "summary": "The same operations and events on a WebSocket",
            "description": "Subprotocol `martlet.v1.json` or `martlet.v1.proto`. The token comes in \#
    the header or in a first `hello` frame, never in the URL. With a token in the header events \#
    begin at once. `cursor` frames tell from where to resume; what came after the last of them is \#
    repeated, so drop what has a `seq` that was seen. A frame and a message have at most 1 MiB. A \#
    message (an array, or a batch) carries at most 256 operations: one with more is answered by a \#
    single error without a `ref`, and none of its operations is begun.",
            "security": [{}, {"bearer": []}],
            "parameters": [
              {
                "name": "cursor", "in": "query",
                "description": "From where to resume; without it events start now.",
                "schema": {"type": "string", "maxLength": 16384}
              },
              {
                "name": "events", "in": "query",
                "description": "`false` asks for no events.",
                "schema": {"type": "boolean", "default": true}
              },
              {
                "name": "hello", "in": "query",
                "description": "`later`: a `hello` frame follows although the header has a token.",
                "schema": {"type": "string", "enum": ["later"]}
              }
            ],
            "responses": {
              "101": {"description": "The WebSocket is open."},
              "400": {"$ref": "#/components/responses/Error"},
              "401": {"$ref": "#/components/responses/Error"},
              "403": {"$ref": "#/components/responses/Error"},
              "426": {"$ref": "#/components/responses/Error"},
              "default": {"$ref": "#/components/responses/Error"}
            }
          }
        },
        "/v1/openapi.json": {
          "get": {
            "operationId": "openAPI",
            "tags": ["meta"],
            "summary": "This document",
            "security": [],
            "responses": {
              "200": {
                "description": "The document.",
                "content": {"application/json": {"schema": {"type": "object"}}}
              }
            }
          }
        }
      }
    """#
}
